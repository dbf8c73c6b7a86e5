// A quick look at the form of what is being typed: JSON, required keys, types, allowed values. A hint only: the server
// checks the whole schema when the verdict arrives, and what this file does not know it lets pass.

const MOST_PROBLEMS = 6;

/** Sentences; none when the text fits the schema as far as this can tell. */
export function problemsOf(text, schema) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return [`not JSON yet: ${error.message}`];
  }
  const problems = [];
  compare(value, schema, "", problems);
  return problems.slice(0, MOST_PROBLEMS);
}

function compare(value, schema, path, problems) {
  if (!schema || typeof schema !== "object") return;
  const name = path || "the answer";
  const types = [schema.type ?? []].flat();
  if (types.length && !types.some((type) => isOf(value, type))) {
    problems.push(`${name} should be ${types.join(" or ")}, not ${kind(value)}`);
    return;
  }
  const wanted = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (wanted && !wanted.some((one) => JSON.stringify(one) === JSON.stringify(value)))
    problems.push(`${name} should be ${wanted.length > 1 ? "one of " : ""}${wanted.map((one) => JSON.stringify(one)).join(", ")}`);
  if (typeof value === "string" && schema.pattern && !matches(value, schema.pattern))
    problems.push(`${name} does not look like ${schema.pattern}`);
  if (kind(value) === "object") compareKeys(value, schema, path, problems);
  if (Array.isArray(value)) value.forEach((one, index) => compare(one, schema.items, `${path}[${index}]`, problems));
}

function compareKeys(value, schema, path, problems) {
  const properties = schema.properties ?? {};
  const at = (key) => (path ? `${path}.${key}` : key);
  for (const key of schema.required ?? [])
    if (!Object.hasOwn(value, key)) problems.push(`${at(key)} is missing`);
  for (const [key, inner] of Object.entries(value)) {
    if (Object.hasOwn(properties, key)) compare(inner, properties[key], at(key), problems);
    else if (schema.additionalProperties === false && !schema.patternProperties)
      problems.push(`${at(key)} is not a key of this answer`);
  }
}

function matches(value, pattern) {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    return true; // a pattern of another dialect: the server will say
  }
}

function kind(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

const isOf = (value, type) => (type === "integer" ? Number.isInteger(value) : kind(value) === type);
