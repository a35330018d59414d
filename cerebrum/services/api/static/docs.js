"use strict";
// The documentation, drawn from /openapi.json, with a form to try each operation.
// Everything goes in as text, never as HTML: descriptions are not trusted with the page.

let spec = null;

function element(kind, properties, ...children) {
  const made = Object.assign(document.createElement(kind), properties || {});
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function resolved(schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((node, key) => node[key], spec);
}

function kind(schema) {
  if (schema && schema.$ref) return schema.$ref.split("/").pop();
  if (!schema) return "";
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return kind(schema.items) + "[]";
  return schema.type || "any";
}

// A value that fits a schema, to start from.
function sample(schema, depth = 0) {
  const found = resolved(schema);
  if (depth > 4) return null;
  if (found.default !== undefined && !(found.default instanceof Object)) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  if (found.anyOf) return sample(found.anyOf[0], depth + 1);
  if (found.type === "array") return found.minItems ? [sample(found.items, depth + 1)] : [];
  if (found.type === "object") {
    const wanted = found.required || [];
    const pairs = Object.entries(found.properties || {}).filter(([name]) => wanted.includes(name));
    return Object.fromEntries(pairs.map(([name, part]) => [name, sample(part, depth + 1)]));
  }
  if (found.type === "string") return "example";
  return found.minimum || found.type === "boolean" ? found.minimum || false : 0;
}

function rows(heads, lines) {
  if (!lines.length) return null;
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, {}, cell)));
  return element("table", {}, row(heads, "th"), ...lines.map((line) => row(line, "td")));
}

function fields(schema) {
  const found = resolved(schema);
  const wanted = found.required || [];
  return rows(["field", "type", ""], Object.entries(found.properties || {}).map(([name, part]) =>
    [element("code", { textContent: name }), kind(part), wanted.includes(name) ? "required" : ""]));
}

async function tried(method, path, inputs, body, output) {
  let address = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") {
      const encoded = input.value.split("/").map(encodeURIComponent).join("/");
      address = address.replace(`{${parameter.name}}`, encoded);
    } else if (input.value !== "") {
      if (parameter.in === "query") query.append(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = { method: method.toUpperCase(), headers, body: body ? body.value : undefined };
  output.textContent = "…";
  try {
    const answer = await fetch(address + (query.size ? `?${query}` : ""), options);
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
    output.textContent = `${answer.status} ${answer.statusText}\n${shown}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function operation(path, method, about) {
  const parameters = about.parameters || [];
  const inputs = parameters.map((parameter) =>
    [parameter, element("input", { placeholder: kind(parameter.schema) })]);
  const content = about.requestBody && about.requestBody.content["application/json"];
  const body = content
    ? element("textarea", { value: JSON.stringify(sample(content.schema), null, 2) }) : null;
  const output = element("pre", { textContent: "" });
  const button = element("button", { textContent: "Send", type: "button" });
  button.addEventListener("click", () => tried(method, path, inputs, body, output));
  return element("details", {},
    element("summary", {},
      element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("code", { textContent: path }),
      element("span", { className: "gone", textContent: about.summary || "" })),
    element("p", { textContent: about.description || "" }),
    rows(["parameter", "in", "type", "value"], inputs.map(([parameter, input]) =>
      [element("code", { textContent: parameter.name }), parameter.in, kind(parameter.schema), input])),
    content ? element("p", { textContent: `Body: ${kind(content.schema)}` }) : null,
    content ? fields(content.schema) : null, body,
    rows(["status", ""], Object.entries(about.responses || {}).map(([status, answer]) =>
      [status, answer.description || ""])),
    button, output);
}

async function show() {
  spec = await (await fetch("/openapi.json")).json();
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  document.getElementById("about").textContent = spec.info.description || "";
  const groups = new Map();
  const only = document.getElementById("operations").dataset.tag;
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = (about.tags || ["other"])[0];
      if (only && tag !== only) continue;
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, about));
    }
  }
  const parts = [...groups].map(([tag, operations]) =>
    element("section", {}, element("h2", { textContent: tag }), ...operations));
  document.getElementById("operations").replaceChildren(...parts);
}

show();
