// The desk: shows one item at a time, keeps what is typed, sends verdicts, goes back. Promises: nothing typed is lost
// until the server acknowledged it; one submit sends one verdict, however often it is pressed; captured text is text.

import * as api from "./api.js";
import * as drafts from "./drafts.js";
import * as form from "./form.js";
import { showEmpty, showItem, showProgress } from "./item.js";
import * as notice from "./notice.js";

const byId = (id) => document.getElementById(id);
const LOOK_AGAIN_MS = 5_000;

class Stopped extends Error {}

const state = {
  workloads: [],
  workload: null,
  item: null,
  sending: false,
  loading: 0, // the turn that looks for the next item
  turn: 0, // counts what is being loaded, so that a late answer does not replace a later one
  skipped: null, // the item put off last; the next one comes after it
  steps: drafts.history(), // [{sampleId, workload, content}], what `u` goes back to
};

/** The task's result, however long the server is away; Stopped when it is no longer wanted. */
async function patiently(task, sentence, { turn = null, stoppable = false } = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await task();
      if (turn !== null && turn !== state.turn) throw new Stopped();
      notice.clear();
      return result;
    } catch (error) {
      if (!(error instanceof api.Unreachable)) throw error;
      if (turn !== null && turn !== state.turn) throw new Stopped();
      if (!(await notice.wait(`${sentence} (${error.message}).`, attempt, { stoppable }))) throw new Stopped();
    }
  }
}

/** Runs one step of the flow; what the server refused is said, what was given up is not. */
async function step(task) {
  try {
    await task();
  } catch (error) {
    if (error instanceof Stopped) return;
    notice.say(error instanceof api.Refused ? error.message : `The page itself failed: ${error}`);
    if (!(error instanceof api.Refused)) throw error;
  }
}

const settings = () => {
  const chosen = state.workloads.find(({ name }) => name === state.workload);
  return { answerSchema: chosen?.answer_schema ?? null, reasons: chosen?.reasons ?? [] };
};

async function start() {
  await patiently(async () => (state.workloads = await api.workloads()), "Annotation does not answer");
  if (!state.workloads.length) return showEmpty("No workload is declared", "Declare one in ratchet.toml; “ratchet init” writes a commented file.");
  const remembered = drafts.setting("workload");
  state.workload = state.workloads.some(({ name }) => name === remembered) ? remembered : state.workloads[0].name;
  const options = state.workloads.map(({ name }) => new Option(name, name, false, name === state.workload));
  byId("workload").replaceChildren(...options);
  byId("workload").disabled = false;
  await resume();
}

/** After a reload the item with a draft comes back, not the next one. */
async function resume() {
  const last = drafts.setting("current");
  if (last?.workload === state.workload && drafts.draftOf(last.sampleId)) {
    try {
      const turn = ++state.turn;
      const item = await patiently(() => api.item(last.sampleId), "Annotation does not answer", { turn });
      const { progress } = await patiently(() => nextOf(), "Annotation does not answer", { turn });
      showProgress(progress);
      return open(item);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error; // the item is gone; its draft stays where it is
    }
  }
  return loadNext();
}

const nextOf = (after) => api.next(state.workload, drafts.setting("annotator"), after);

async function loadNext() {
  const turn = ++state.turn;
  state.loading = turn;
  try {
    const { item, progress } = await waitingItem(turn);
    showProgress(progress);
    if (item) return open(item);
    state.item = null;
    byId("empty-undo").hidden = !state.steps.length;
    showEmpty(...whyEmpty(progress));
  } finally {
    if (state.loading === turn) state.loading = 0;
  }
}

async function waitingItem(turn) {
  const sentence = "The next item cannot be fetched";
  const answer = await patiently(() => nextOf(state.skipped), sentence, { turn });
  if (answer.item || !state.skipped) return answer;
  state.skipped = null; // round once: what was put off is all there is
  return patiently(() => nextOf(), sentence, { turn });
}

function whyEmpty({ done_today: today, budget }) {
  if (budget && today >= budget)
    return ["Done for today", `Today's budget of ${budget} corrections for ${state.workload} is used up. The rest waits for tomorrow (UTC); daily_budget in ratchet.toml changes it.`];
  return [
    `Nothing waits for ${state.workload}`,
    "Items appear here as the application asks and answers are picked: some at random, some because a user complained, the form was wrong or the model was unsure. This page looks again by itself.",
  ];
}

function open(item, content = null) {
  item.answer ??= "";
  state.item = item;
  drafts.saveSetting("current", { workload: state.workload, sampleId: item.sample_id });
  const draft = drafts.draftOf(item.sample_id);
  showItem(item);
  form.show(item, content ?? draft ?? form.untouched(item), settings());
  byId("undo").disabled = !state.steps.length;
  if (item.state === "done") notice.say("This item has a verdict already. Sending another one replaces it.");
  else if (draft && !content) notice.say("Your unsent draft of this item is back.");
  notice.speak(`Next item. Why this one: ${byId("signal").textContent}.`);
}

function keepDraft() {
  if (!state.item) return;
  const content = form.content();
  const same = JSON.stringify(content) === JSON.stringify(form.untouched(state.item));
  const kept = same ? drafts.dropDraft(state.item.sample_id) : drafts.saveDraft(state.item.sample_id, content);
  if (!kept) notice.say("This browser keeps no drafts (storage is full or off): what you type is safe only once it is sent.");
}

async function submit() {
  if (state.sending || !state.item) return;
  const objection = form.objection();
  form.object(objection);
  if (objection) return;
  state.sending = true; // until the next item stands there: a second press finds nothing to send
  form.lock(true);
  try {
    await send(state.item);
    await loadNext();
  } finally {
    state.sending = false;
    form.lock(false);
    byId("undo").disabled = !state.steps.length;
  }
}

async function send(item) {
  const content = form.content();
  const body = form.body(drafts.setting("annotator"));
  const task = () => api.sendVerdict(item.sample_id, body);
  const { progress } = await patiently(task, "Your verdict has not arrived; it is kept in this browser", { stoppable: true });
  drafts.dropDraft(item.sample_id);
  const others = state.steps.filter(({ sampleId }) => sampleId !== item.sample_id);
  state.steps = [...others, { sampleId: item.sample_id, workload: item.workload, content }];
  drafts.saveHistory(state.steps);
  showProgress(progress);
  notice.speak("Saved.");
}

async function later() {
  if (state.sending || !state.item) return;
  state.skipped = state.item.sample_id;
  await loadNext();
}

async function back() {
  const last = state.steps.findLast(({ workload }) => workload === state.workload);
  if (state.sending || !last) return;
  const turn = ++state.turn;
  const item = await patiently(() => api.item(last.sampleId), "The item before cannot be fetched", { turn });
  state.steps = state.steps.filter((one) => one !== last);
  drafts.saveHistory(state.steps);
  open(item, drafts.draftOf(last.sampleId) ?? last.content);
}

async function switchWorkload(name) {
  if (state.sending) return (byId("workload").value = state.workload);
  state.workload = name;
  state.skipped = null;
  drafts.saveSetting("workload", name);
  notice.abandon();
  return loadNext();
}

async function lookAgain() {
  const idle = !state.item && state.workload && !state.sending && !state.loading && !document.hidden;
  if (idle && !document.querySelector("dialog[open]")) await step(loadNext);
}

function askName() {
  byId("name").value = drafts.setting("annotator") ?? "";
  byId("name-dialog").showModal();
  return new Promise((resolve) => byId("name-dialog").addEventListener("close", resolve, { once: true }));
}

async function named({ again = false } = {}) {
  while (again || !drafts.setting("annotator")) {
    again = false;
    await askName();
    const name = byId("name").value.trim();
    if (name && !drafts.saveSetting("annotator", name)) return notice.say("This browser stores nothing for this page; the desk needs that for your name and your drafts.");
  }
  byId("who").textContent = drafts.setting("annotator");
}

function openHelp() {
  byId("single-keys").checked = drafts.setting("single-keys") ?? true;
  byId("help-dialog").showModal();
}

const KEYS = {
  g: () => form.choose("good"),
  f: () => form.choose("fix"),
  d: () => form.choose("discard"),
  e: () => byId("ideal").focus(),
  r: () => form.startOver(),
  n: () => byId("comment").focus(),
  s: () => step(later),
  u: () => step(back),
};

/** The letter a key stands for, also on a keyboard without Latin letters. */
const letterOf = ({ key, code }) => (/^[\x20-\x7e]$/.test(key) ? key.toLowerCase() : code.replace(/^Key/, "").toLowerCase());

function press(event) {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!event.repeat) step(submit);
    return;
  }
  const typing = event.target.matches("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.key === "Escape" && typing) return byId("item").focus({ preventScroll: true });
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(drafts.setting("single-keys") ?? true)) return;
  if (event.key === "?") return openHelp();
  const letter = letterOf(event);
  if (event.repeat || state.sending || (!state.item && letter !== "u")) return;
  if (/^[1-9]$/.test(letter)) form.toggleReason(Number(letter) - 1);
  else if (KEYS[letter]) {
    event.preventDefault();
    KEYS[letter]();
  }
}

form.onChange(keepDraft);
document.addEventListener("keydown", press);
byId("work").addEventListener("submit", (event) => {
  event.preventDefault();
  step(submit);
});
byId("skip").addEventListener("click", () => step(later));
byId("undo").addEventListener("click", () => step(back));
byId("empty-undo").addEventListener("click", () => step(back));
byId("workload").addEventListener("change", (event) => step(() => switchWorkload(event.target.value)));
byId("who").addEventListener("click", () => step(() => named({ again: true })));
byId("help").addEventListener("click", openHelp);
byId("single-keys").addEventListener("change", (event) => drafts.saveSetting("single-keys", event.target.checked));
setInterval(lookAgain, LOOK_AGAIN_MS);

step(async () => {
  await named();
  await start();
});
