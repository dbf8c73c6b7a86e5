// What was typed and not yet acknowledged, in this browser; and the annotator's own settings. A draft lives until the
// server has said that it holds the verdict. Where the browser keeps nothing, `save` says so and the page goes on.

const PREFIX = "ratchet.desk.";

function read(store, key) {
  try {
    // by name, since even naming the store throws where storage is switched off
    return JSON.parse(window[store].getItem(PREFIX + key));
  } catch {
    return null;
  }
}

function write(store, key, value) {
  try {
    if (value === null) window[store].removeItem(PREFIX + key);
    else window[store].setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false; // full, or switched off
  }
}

export const draftOf = (sampleId) => read("localStorage", `draft.${sampleId}`);
export const saveDraft = (sampleId, form) => write("localStorage", `draft.${sampleId}`, form);
export const dropDraft = (sampleId) => write("localStorage", `draft.${sampleId}`, null);

export const setting = (name) => read("localStorage", name);
export const saveSetting = (name, value) => write("localStorage", name, value);

const MOST_STEPS_BACK = 50;
export const history = () => read("sessionStorage", "history") ?? [];
export const saveHistory = (steps) => write("sessionStorage", "history", steps.slice(-MOST_STEPS_BACK));
