// Captured text shown as text. Nothing here makes markup out of a string: only text nodes and elements built by name.
// Characters that change how text reads without being seen (direction overrides, zero-width, control) get a visible badge.

const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;
const NAMES = {
  0x061c: "ALM", 0x200b: "ZWSP", 0x200e: "LRM", 0x200f: "RLM", 0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO",
  0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
};

export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export const hiddenCharacters = (text) => [...text.matchAll(HIDDEN)].map(([character]) => nameOf(character));

/** Puts `text` into `node`, hidden characters as badges. */
export function show(node, text) {
  node.replaceChildren(...visible(text));
  node.dir = "auto";
}

export function visible(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > from) parts.push(text.slice(from, match.index));
    const badge = element("span", "hidden-character", nameOf(match[0]));
    badge.title = `hidden character ${codePoint(match[0])}`;
    parts.push(badge);
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

const codePoint = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const nameOf = (character) => NAMES[character.codePointAt(0)] ?? codePoint(character);

/** What a message says, whatever its shape: a string, OpenAI content parts, tool calls. */
export function contentOf(message) {
  const { content, tool_calls: calls } = message;
  const parts = Array.isArray(content) ? content.map(partText) : [asText(content)];
  if (calls?.length) parts.push(JSON.stringify(calls, null, 1));
  return parts.filter(Boolean).join("\n");
}

const partText = (part) => (typeof part?.text === "string" ? part.text : asText(part));

function asText(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}
