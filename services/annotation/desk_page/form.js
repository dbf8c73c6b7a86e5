// The working half of the page: ideal answer, verdict, reasons, note; what differs and what objects. It knows nothing
// of the server. A form's content is {text, verdict, reasons, comment}.

import { problemsOf } from "./check.js";
import { diff } from "./diff.js";
import { element, hiddenCharacters, visible } from "./text.js";

const byId = (id) => document.getElementById(id);
const DIFF_DELAY_MS = 60;
const SPACES = { "\n": "↵\n", "\r\n": "↵\n", "\t": "⇥", " ": "␣", "\u00a0": "⍽" };

const work = byId("work");
const ideal = byId("ideal");
const comment = byId("comment");

let item = null;
let schema = null;
let verdictIsOurs = false; // set because the text was changed, not by the person
let misfitAccepted = null; // the text that the person wants to send although it does not fit the schema
let diffTimer = 0;
let changed = () => {};

export const onChange = (listener) => {
  changed = listener;
};

export const untouched = (shown) => ({ text: shown.ideal ?? shown.answer, verdict: "", reasons: [], comment: "" });

export function show(shown, content, { answerSchema, reasons }) {
  item = shown;
  schema = answerSchema;
  verdictIsOurs = false;
  misfitAccepted = null;
  showReasons(reasons);
  ideal.value = content.text;
  comment.value = content.comment;
  setVerdict(content.verdict);
  for (const box of reasonBoxes()) box.checked = content.reasons.includes(box.value);
  object("");
  refresh();
  showDiff();
}

export function content() {
  const reasons = reasonBoxes().filter((box) => box.checked);
  return { text: ideal.value, verdict: verdict(), reasons: reasons.map((box) => box.value), comment: comment.value };
}

/** What to send; an edited text never goes under "good", which teaches the model's own answer. */
export function body(annotator) {
  const { text, verdict: chosen, reasons, comment: note } = content();
  return {
    verdict: chosen,
    ideal: chosen === "fix" ? text : item.answer,
    reasons: chosen === "good" ? [] : reasons,
    annotator,
    comment: note,
  };
}

/** Why this cannot be sent yet, in a sentence; "" when it can. */
export function objection() {
  const { text, verdict: chosen, reasons } = content();
  if (!chosen) return "Choose a verdict first: g, f or d.";
  if (chosen === "good" && text !== item.answer && text !== untouched(item).text)
    return "You changed the text, and “good” teaches the model's own answer. Choose fix, or start over with r.";
  if (chosen !== "fix" || reasons.includes("knowledge")) return "";
  if (!text.trim()) return "The ideal answer is empty. Write one, or discard the item.";
  if (text.trimEnd() === item.answer.trimEnd()) return "The text is still the model's answer. Change it, or choose good.";
  if (schema && text !== misfitAccepted && problemsOf(text, schema).length) {
    misfitAccepted = text;
    return "Your text does not have the form this workload asks for (see below it). Submit again to let the server decide.";
  }
  return "";
}

export const object = (sentence) => {
  byId("objection").textContent = sentence;
};

export function choose(value) {
  verdictIsOurs = false;
  setVerdict(value);
  object("");
  refresh();
  changed();
}

export function toggleReason(index) {
  if (byId("reasons").disabled) return;
  reasonBoxes()[index]?.click();
}

export function startOver() {
  ideal.value = untouched(item).text;
  typed();
}

export function lock(locked) {
  ideal.readOnly = comment.readOnly = locked;
  for (const control of work.querySelectorAll("button, input[type=radio], input[type=checkbox]")) control.disabled = locked;
  if (!locked) refresh();
}

function verdict() {
  return work.elements.verdict.value;
}

function setVerdict(value) {
  for (const radio of work.elements.verdict) radio.checked = radio.value === value;
}

const reasonBoxes = () => [...byId("reasons").querySelectorAll("input")];

function showReasons(reasons) {
  const labels = reasons.map(({ value, label }, index) => {
    const box = element("input");
    Object.assign(box, { type: "checkbox", value });
    return element("label", "choice", box, element("span", "", element("kbd", "", String(index + 1)), ` ${label}`));
  });
  byId("reasons").replaceChildren(byId("reasons").querySelector("legend"), ...labels);
}

function typed() {
  const edited = ideal.value !== untouched(item).text;
  if (edited && !verdict()) {
    setVerdict("fix");
    verdictIsOurs = true;
  } else if (!edited && verdictIsOurs) {
    setVerdict("");
    verdictIsOurs = false;
  }
  object("");
  refresh();
  clearTimeout(diffTimer);
  diffTimer = setTimeout(showDiff, DIFF_DELAY_MS);
  changed();
}

function refresh() {
  byId("reset").disabled = ideal.value === untouched(item).text;
  byId("reasons").disabled = verdict() === "good";
  showHints();
}

function showHints() {
  const hints = [];
  if (schema) {
    const problems = problemsOf(ideal.value, schema);
    hints.push(...problems.map((problem) => element("li", "bad", ...visible(problem))));
    if (!problems.length) hints.push(element("li", "fine", "has the form this workload asks for"));
  }
  const hidden = hiddenCharacters(ideal.value);
  if (hidden.length) hints.push(element("li", "bad", `hidden characters: ${[...new Set(hidden)].join(", ")}`));
  byId("check").replaceChildren(...hints);
}

function showDiff() {
  const parts = diff(item.answer, ideal.value);
  const same = parts.every(([kind]) => kind === "same");
  byId("changes").classList.toggle("nothing", same);
  byId("diff").dir = "auto";
  byId("diff").replaceChildren(...(same ? ["Nothing yet: the text is the model's answer."] : parts.flatMap(part)));
}

function part([kind, text]) {
  if (kind === "same") return visible(text);
  const blank = !text.trim(); // a changed space would be invisible
  const shown = blank ? text.replace(/\r\n|[\n\t \u00a0]/g, (space) => SPACES[space]) : text;
  return [element(kind === "added" ? "ins" : "del", "", ...visible(shown))];
}

ideal.addEventListener("input", typed);
comment.addEventListener("input", () => changed());
byId("reset").addEventListener("click", startOver);
work.addEventListener("change", (event) => {
  if (event.target.name === "verdict") choose(event.target.value);
  else changed();
});
