// The desk's REST calls (docs/interfaces.md). An answer the server will never give raises Refused; one that may come
// later raises Unreachable. Every call is harmless when made twice.

const ROOT = new URL("../v1/desk/", import.meta.url);
const TIMEOUT_MS = 20_000;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Unreachable extends Error {}

export const workloads = async () => (await call("workloads")).workloads;
export const next = (workload, annotator, after) => call("next", { params: { workload, annotator, after } });
export const item = (sampleId) => call(`items/${encodeURIComponent(sampleId)}`);
export const sendVerdict = (sampleId, body) => call(`items/${encodeURIComponent(sampleId)}/verdict`, { body });

async function call(path, { params = {}, body } = {}) {
  const url = new URL(path, ROOT);
  for (const [key, value] of Object.entries(params)) if (value) url.searchParams.set(key, value);
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", headers: {} };
  if (body) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response, text;
  try {
    response = await fetch(url, options);
    text = await response.text();
  } catch (error) {
    throw new Unreachable(error.name === "TimeoutError" ? "it did not answer in 20 s" : "no connection");
  }
  if (response.status >= 500 || response.status === 429) throw new Unreachable(sentence(text, response.status));
  if (!response.ok) throw new Refused(sentence(text, response.status), response.status);
  try {
    return JSON.parse(text);
  } catch {
    throw new Unreachable("it answered what is not JSON");
  }
}

function sentence(text, status) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((part) => `${(part.loc ?? []).join(".")}: ${part.msg}`).join("; ");
  } catch {
    // not JSON: the status alone has to do
  }
  return `it answered ${status}`;
}
