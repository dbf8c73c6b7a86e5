// One place for what went wrong and what happens next. `wait` resolves true when it is time to try again, and false
// when the person said to stop.

const byId = (id) => document.getElementById(id);
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 30_000;

let settle = null;

export function say(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = false;
  byId("notice-now").hidden = byId("notice-stop").hidden = true;
}

export function clear() {
  byId("notice").hidden = true;
}

/** For screen readers alone: what eyes see anyway. */
export function speak(text) {
  byId("spoken").textContent = text;
}

export function wait(text, attempt, { stoppable }) {
  const delay = Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS);
  say(`${text} Trying again in ${Math.round(delay / 1000)} s.`);
  byId("notice-now").hidden = false;
  byId("notice-stop").hidden = !stoppable;
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle(true), delay);
    settle = (again) => {
      clearTimeout(timer);
      settle = null;
      resolve(again);
    };
  });
}

/** Ends a wait that nobody needs any more. */
export const abandon = () => settle?.(false);

byId("notice-now").addEventListener("click", () => settle?.(true));
byId("notice-stop").addEventListener("click", () => settle?.(false));
