/* The table of models: search, filters and sorting over rows that are in the page already.
 *
 * What is chosen stands behind the # of the address, so that a link shows the same rows:
 * index.html#q=tensornet&domain=atoms&kind=weights&licence=Apache-2.0&sort=size&down=1
 * Nothing is fetched, and without JavaScript the whole table is there.
 */
"use strict";

const modelTable = {
  KEYS: ["q", "domain", "kind", "licence", "sort", "down"],

  /** What an address asks for; keys that aren't ours are left alone. */
  parse(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const state = {};
    for (const key of this.KEYS) state[key] = given.get(key) || "";
    return state;
  },

  /** The part of an address that asks for it; empty if all rows are shown as they come. */
  format(state) {
    const asked = new URLSearchParams();
    for (const key of this.KEYS) if (state[key]) asked.set(key, state[key]);
    return asked.toString();
  },

  /** Whether a row is shown: every word is somewhere in it, and each filter agrees.
   * A row: {text, domain: [...], kind, licence}. */
  matches(row, state) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const text = row.text.toLowerCase();
    return (
      words.every((word) => text.includes(word)) &&
      (!state.domain || row.domain.includes(state.domain)) &&
      (!state.kind || row.kind === state.kind) &&
      (!state.licence || row.licence === state.licence)
    );
  },

  /** Order of two cells {text, value}; value is a number or null. Empty ones come last always. */
  compare(a, b, down) {
    const emptyA = a.value === null && (a.text === "-" || a.numeric);
    const emptyB = b.value === null && (b.text === "-" || b.numeric);
    if (emptyA || emptyB) return Number(emptyA) - Number(emptyB);
    const order =
      a.value !== null && b.value !== null
        ? a.value - b.value
        : a.text.localeCompare(b.text, "en", { numeric: true });
    return down ? -order : order;
  },
};

if (typeof module !== "undefined") module.exports = modelTable;

function startModelTable(box) {
  const table = box.querySelector("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].map((element, index) => ({
    element,
    index,
    text: `${element.textContent} ${element.dataset.words}`,
    domain: element.dataset.domain.split(" "),
    kind: element.dataset.kind,
    licence: element.dataset.licence,
    cells: [...element.cells].map((cell, column) => ({
      text: cell.textContent,
      value: cell.dataset.value === undefined ? null : Number(cell.dataset.value),
      numeric: "number" in heads[column].dataset,
    })),
  }));
  let state = modelTable.parse(location.hash);

  const form = document.createElement("form");
  form.className = "zoo-filter";
  form.setAttribute("role", "search");
  form.setAttribute("aria-label", "Filter the table of models");
  form.addEventListener("submit", (event) => event.preventDefault());
  const controls = {};

  function add(key, label, element) {
    const outer = document.createElement("label");
    outer.append(label, element);
    element.name = key;
    element.addEventListener("input", () => {
      state[key] = element.value.trim();
      show(true);
    });
    controls[key] = element;
    form.append(outer);
  }

  function select(key, label, choices) {
    const element = document.createElement("select");
    for (const [value, words] of choices) element.append(new Option(words, value));
    add(key, label, element);
  }

  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "name, data set, element, ...";
  add("q", "Search", search);
  const values = (list) => [...new Set(list)].sort().map((value) => [value, value]);
  select("domain", "Domain", [["", "all"], ...values(rows.flatMap((row) => row.domain))]);
  select("kind", "Rows", [
    ["", "all"],
    ["weights", "trained weights"],
    ["architecture", "architectures"],
  ]);
  select("licence", "Licence", [["", "all"], ...values(rows.map((row) => row.licence))]);
  select("sort", "Sort by", [
    ["", "architecture"],
    ...heads.map((head) => [head.textContent, head.textContent]),
  ]);
  const reset = document.createElement("button");
  reset.type = "button";
  reset.textContent = "Reset";
  reset.addEventListener("click", () => {
    state = modelTable.parse("");
    show(true);
    search.focus();
  });
  form.append(reset);
  const count = document.createElement("p");
  count.className = "zoo-count";
  count.setAttribute("role", "status");
  box.prepend(form, count);

  heads.forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const same = state.sort === button.textContent;
      if (same && state.down) Object.assign(state, { sort: "", down: "" });
      else Object.assign(state, { sort: button.textContent, down: same ? "1" : "" });
      show(true);
    });
    head.replaceChildren(button);
  });

  function show(changed) {
    const column = heads.findIndex((head) => head.textContent === state.sort);
    const sorted = [...rows].sort(
      (a, b) =>
        (column < 0 ? 0 : modelTable.compare(a.cells[column], b.cells[column], state.down)) ||
        a.index - b.index,
    );
    for (const row of rows) row.element.hidden = !modelTable.matches(row, state);
    body.replaceChildren(...sorted.map((row) => row.element));
    heads.forEach((head, index) => {
      const order = state.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", index === column ? order : "none");
    });
    for (const [key, control] of Object.entries(controls)) {
      if (control.value.trim() !== state[key]) control.value = state[key];
    }
    const visible = rows.filter((row) => !row.element.hidden).length;
    count.textContent = `${visible} of ${rows.length} rows`;
    if (changed) {
      const asked = modelTable.format(state);
      history.replaceState(null, "", asked ? `#${asked}` : location.pathname + location.search);
    }
  }

  window.addEventListener("hashchange", () => {
    state = modelTable.parse(location.hash);
    show(false);
  });
  show(false);
}

if (typeof document !== "undefined") {
  document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("model-table");
    if (box) startModelTable(box);
  });
}
