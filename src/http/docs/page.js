
"use strict";
(() => {
  const METHODS = ["get", "head", "post", "put", "patch", "delete"];
  const main = document.getElementById("main");
  const contents = document.getElementById("contents");
  let whole = {};

  // An element with what is in it: text stays text, whatever it holds.
  const make = (name, attributes, ...inner) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      element.setAttribute(key, value);
    }
    element.append(...inner.flat().filter((each) => each !== null && each !== undefined));
    return element;
  };

  // Text, in which backticks stand around code.
  const prose = (text) => (text || "").split("`").map((part, at) => (at % 2 ? make("code", null, part) : part));

  const resolved = (part) => {
    if (!part || !part.$ref) {
      return part;
    }
    const steps = part.$ref.replace(/^#\//, "").split("/");
    return steps.reduce((at, step) => at && at[step.replace(/~1/g, "/").replace(/~0/g, "~")], whole);
  };

  const code = (value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return make("pre", { tabindex: "0" }, make("code", null, text));
  };

  const schema = (part) => {
    if (!part || !part.$ref) {
      return make("span", { class: "soft" }, (part && part.type) || "any");
    }
    const name = part.$ref.split("/").pop();
    return make("a", { href: "#schema-" + name }, name);
  };

  const parameter = (part) => {
    const given = resolved(part);
    const needed = given.required ? ", required" : "";
    return [
      make("dt", null, make("code", null, given.name), " ", make("span", { class: "soft" }, given.in + needed + ", "), schema(given.schema)),
      make("dd", null, prose(given.description), " ", "example" in given ? make("span", null, "For example ", make("code", null, String(given.example))) : null),
    ];
  };

  const body = (content) =>
    Object.entries(content || {}).flatMap(([type, form]) => [
      make("p", null, make("code", null, type), " ", schema(form.schema)),
      ...Object.entries(form.examples || {}).map(([name, example]) => {
        const given = resolved(example);
        return make("details", null, make("summary", null, "Example: ", make("code", null, name)), code(given.value));
      }),
    ]);

  const headers = (given) => {
    const listed = Object.entries(given || {}).flatMap(([name, header]) => [
      make("dt", null, make("code", null, name)),
      make("dd", null, prose(header.description), " ", make("code", null, String(header.example))),
    ]);
    return listed.length ? make("dl", null, listed) : null;
  };

  const answer = ([status, given]) =>
    make(
      "details",
      null,
      make("summary", null, make("strong", null, status), " ", prose(given.description)),
      headers(given.headers),
      body(given.content),
    );

  const operation = (path, method, label, given, shared) => {
    const parameters = [...shared, ...(given.parameters || [])];
    const opened = make(
      "details",
      { id: given.operationId, class: "operation" },
      make("summary", null, make("span", { class: "method " + method }, label), " ", make("code", null, path), " ", prose(given.summary)),
      make("p", null, prose(given.description)),
    );
    if (parameters.length) {
      opened.append(make("h3", null, "Parameters"), make("dl", null, parameters.flatMap(parameter)));
    }
    if (given.requestBody) {
      opened.append(make("h3", null, "Body"), ...body(given.requestBody.content));
    }
    opened.append(make("h3", null, "Answers"), ...Object.entries(given.responses).map(answer));
    return opened;
  };

  // A HEAD is shown with its GET: it has the same answers, without their bodies.
  const label = (method, methods) => (method === "get" && methods.head ? "GET, HEAD" : method.toUpperCase());

  const operations = (tag) =>
    Object.entries(whole.paths).flatMap(([path, methods]) =>
      METHODS.filter((method) => methods[method] && methods[method].tags.includes(tag))
        .filter((method) => method !== "head" || !methods.get)
        .map((method) => operation(path, method, label(method, methods), methods[method], methods.parameters || [])),
    );

  const show = () => {
    document.getElementById("version").textContent = whole.info.version;
    const about = whole.info.description.split("\n\n").map((text) => make("p", null, prose(text)));
    document.getElementById("about").append(...about);
    const list = make("ul");
    main.replaceChildren();
    for (const tag of whole.tags) {
      const found = operations(tag.name);
      const heading = make("h2", { id: "tag-" + tag.name }, tag.name);
      main.append(make("section", null, heading, make("p", null, prose(tag.description)), found));
      list.append(make("li", null, make("a", { href: "#tag-" + tag.name }, tag.name)));
    }
    const schemas = Object.entries(whole.components.schemas).map(([name, form]) =>
      make("details", { id: "schema-" + name, class: "operation" }, make("summary", null, make("code", null, name), " ", prose(form.description)), code(form)),
    );
    main.append(make("section", null, make("h2", { id: "schemas" }, "Schemas"), schemas));
    list.append(make("li", null, make("a", { href: "#schemas" }, "Schemas")));
    contents.append(list);
  };

  // What an address names is opened, since what is closed cannot be seen.
  const open = () => {
    const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (named && named.tagName === "DETAILS") {
      named.hidden = false;
      named.open = true;
      named.scrollIntoView();
    }
  };

  const filter = (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const each of main.querySelectorAll("details.operation")) {
      each.hidden = !each.textContent.toLowerCase().includes(wanted);
    }
  };

  const begin = async () => {
    try {
      const answered = await fetch("openapi.json");
      if (!answered.ok) {
        throw new Error("openapi.json was answered with " + answered.status);
      }
      whole = await answered.json();
      show();
      open();
    } catch (error) {
      main.replaceChildren(make("p", { role: "alert" }, "The description cannot be shown: " + error.message + ". Load the page again."));
    }
  };

  window.addEventListener("hashchange", open);
  document.getElementById("filter").addEventListener("input", filter);
  begin();
})();
