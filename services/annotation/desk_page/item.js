// The reading half of the page: the item as it was captured, why it was picked, progress, and the empty page.

import { contentOf, element, show } from "./text.js";

const byId = (id) => document.getElementById(id);
const LONG_SYSTEM_PROMPT = 400; // characters; beyond it the prompt starts folded

let systemOpen = null; // as the person left it, from item to item

export function showItem(item) {
  byId("empty").hidden = true;
  byId("item").hidden = false;
  byId("signal").textContent = item.signal ?? "";
  byId("facts").replaceChildren(...facts(item));
  byId("messages").replaceChildren(...(item.messages ?? []).map(message));
  showFeedback(item.feedback ?? []);
  show(byId("answer"), item.answer || "");
  byId("answer").classList.toggle("nothing", !item.answer);
  if (!item.answer) byId("answer").textContent = "The model gave no text.";
  showConfidence(item.confidence);
  const errors = item.schema_errors ?? [];
  byId("schema-errors").hidden = !errors.length;
  byId("schema-errors").replaceChildren(...errors.map((error) => line("", error)));
  scrollTo(0, 0);
  for (const id of ["answer", "diff"]) byId(id).scrollTop = 0;
  byId("item").focus({ preventScroll: true });
}

export function showEmpty(title, text) {
  byId("item").hidden = true;
  const wasShown = !byId("empty").hidden && byId("empty-title").textContent === title;
  byId("empty").hidden = false;
  byId("empty-title").textContent = title;
  byId("empty-text").textContent = text;
  byId("empty-more").textContent = `Looked at ${new Date().toLocaleTimeString()}.`;
  if (!wasShown) byId("empty-title").focus(); // not on every look
}

export function showProgress(progress) {
  if (!progress) return;
  const { waiting, done_today: today, done, budget, examples } = progress;
  byId("waiting").textContent = waiting;
  byId("today").textContent = today;
  byId("budget").textContent = budget ? `of ${budget}` : "";
  byId("budget-bar").hidden = !budget;
  byId("budget-bar").max = Math.max(budget || 1, 1);
  byId("budget-bar").value = Math.min(today, budget || 1);
  byId("total").textContent = done;
  byId("examples").textContent = examples;
  document.title = waiting ? `(${waiting}) Ratchet desk` : "Ratchet desk";
}

function facts({ version, served_at: served }) {
  const time = new Date(served);
  const parts = [element("span", "", version ?? "")];
  if (!Number.isNaN(time.valueOf())) {
    const shown = element("time", "", time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
    shown.dateTime = served;
    parts.push(shown);
  }
  return parts;
}

function message({ role, ...rest }) {
  const text = element("div", "text");
  show(text, contentOf(rest));
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", `${role} message`);
  const item = element("li", `message ${["system", "developer", "user", "assistant", "tool"].includes(role) ? role : ""}`);
  if (role !== "system" && role !== "developer") {
    item.append(element("span", "role", role), text);
    return item;
  }
  const folded = element("details", "", element("summary", "role", "system prompt"), text);
  folded.open = systemOpen ?? text.textContent.length < LONG_SYSTEM_PROMPT;
  folded.querySelector("summary").addEventListener("click", () => (systemOpen = !folded.open));
  item.append(folded);
  return item;
}

function showFeedback(all) {
  byId("feedback").hidden = !all.length;
  byId("feedback-list").replaceChildren(...all.map(oneFeedback));
}

function oneFeedback({ thumb, score, comment, suggested_answer: suggestion }) {
  const item = element("li");
  if (thumb) item.append(element("span", `thumb ${thumb === "up" ? "up" : "down"}`, thumb === "up" ? "▲ thumbs up" : "▼ thumbs down"));
  if (score !== null && score !== undefined) item.append(element("span", "thumb", `score ${score}`));
  if (comment) item.append(line("text", comment, "p"));
  if (suggestion) item.append(...suggested(suggestion));
  return item;
}

function suggested(suggestion) {
  const use = element("button", "quiet small", "Use this text");
  use.type = "button";
  use.addEventListener("click", () => {
    byId("ideal").value = suggestion;
    byId("ideal").dispatchEvent(new Event("input"));
    byId("ideal").focus();
  });
  const text = line("text code", suggestion, "div");
  return [element("div", "heading", element("span", "label", "Their suggestion"), use), text];
}

function line(className, text, name = "li") {
  const made = element(name, className);
  show(made, text);
  return made;
}

function showConfidence(confidence) {
  const known = typeof confidence === "number";
  byId("confidence").textContent = known ? `the model's own confidence ${Math.round(confidence * 100)} %` : "";
}
