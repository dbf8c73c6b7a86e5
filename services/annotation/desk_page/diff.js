// Word diff. Joining the kept and removed parts gives the first text, the kept and added parts the second, always.

const MOST_CELLS = 3_000_000; // 12 MB and some 30 ms; beyond it lines are compared, then whole texts

/** [["same" | "removed" | "added", text], ...], neighbours of one kind joined. */
export function diff(before, after) {
  for (const split of [words, lines]) {
    const a = split(before);
    const b = split(after);
    let start = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start++;
    let end = 0;
    while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
    const middleA = a.slice(start, a.length - end);
    const middleB = b.slice(start, b.length - end);
    if ((middleA.length + 1) * (middleB.length + 1) > MOST_CELLS) continue;
    const parts = [
      ["same", a.slice(0, start).join("")],
      ...aligned(middleA, middleB),
      ["same", a.slice(a.length - end).join("")],
    ];
    return joined(parts);
  }
  return joined([["removed", before], ["added", after]]);
}

const words = (text) => text.match(/[\p{L}\p{N}\p{M}_]+|\r?\n|[^\S\n]+|[^]/gu) ?? [];
const lines = (text) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/** Longest common subsequence, by the plain table. */
function aligned(a, b) {
  const width = b.length + 1;
  const length = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      length[i * width + j] =
        a[i] === b[j]
          ? length[(i + 1) * width + j + 1] + 1
          : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
  const parts = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      parts.push(["same", a[i++]]);
      j++;
    } else if (i < a.length && (j === b.length || length[(i + 1) * width + j] >= length[i * width + j + 1])) {
      parts.push(["removed", a[i++]]);
    } else {
      parts.push(["added", b[j++]]);
    }
  }
  return parts;
}

function joined(parts) {
  const result = [];
  for (const [kind, text] of parts) {
    if (!text) continue;
    if (result.at(-1)?.[0] === kind) result.at(-1)[1] += text;
    else result.push([kind, text]);
  }
  return result;
}
