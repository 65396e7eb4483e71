/* The table: sorted, filtered and opened, with DataTables (datatables.net). Without this script it is complete, too. */
(() => {
  "use strict";

  const { build, copyButton, element, form, grouped, chosen, words, hidden, count, matches, read, write, apply } =
    window.amendbench;
  const table = document.getElementById("board");
  const status = document.getElementById("status");
  const data = JSON.parse(document.getElementById("details").textContent);
  const heads = [...table.querySelectorAll("thead th")].map((head) => ({ ...head.dataset }));
  const groupKeys = table.dataset.grouped.split(" ");

  /* One body with the rows alone; headings of groups and sections are put between them when it is drawn. */
  function flatten() {
    const bodies = [...table.tBodies];
    const found = [];
    bodies.forEach((body, number) => {
      let [group, section, part] = [null, null, 0];
      for (const tr of [...body.rows]) {
        if (tr.classList.contains("group")) group = tr;
        else if (tr.classList.contains("section")) [section, part] = [tr, part + 1];
        else found.push({ tr, headings: [group, section], order: number * 100 + part });
      }
    });
    bodies[0].replaceChildren(...found.map((row) => row.tr));
    bodies.slice(1).forEach((body) => body.remove());
    return found;
  }

  /* The last column, which is never shown, has the order of groups and their sections. */
  function addOrder() {
    table.tHead.rows[0].append(element("th", "group"));
    for (const row of rows) {
      const cell = element("td");
      cell.dataset.order = row.order;
      row.tr.append(cell);
    }
  }

  /* What a cell is sorted by is what it shows, if it does not say what else; a dash is a blank. */
  function setOrders(tr) {
    for (const cell of tr.children) {
      if (cell.dataset.order !== undefined) continue;
      const shown = (cell.querySelector(".name") || cell).textContent;
      cell.dataset.order = shown === "-" ? "" : shown;
    }
  }

  /* What a row is filtered by stands in its cells; what has no column, in attributes. */
  function facetsOf(tr) {
    const found = {};
    heads.forEach((head, index) => {
      if (head.kind === "text" && tr.children[index].textContent) found[head.key] = tr.children[index].textContent;
    });
    for (const { name, value } of tr.attributes) if (name.startsWith("data-f-")) found[name.slice(7)] = value;
    return found;
  }

  function keyOf(row) {
    const parts = ["suite", "task", "scenario", "track", "device"].map((name) => row.facets[name]);
    return [...parts, row.tr.querySelector(".name").textContent].filter(Boolean).join("/");
  }

  /* The name becomes a button that opens the row. */
  function opener(tr, index) {
    const name = tr.querySelector(".name");
    const button = element("button", name.textContent, "open");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      toggle(index);
      remember();
    });
    name.replaceChildren(button);
    return button;
  }

  const rows = flatten();
  rows.forEach((row, index) => {
    setOrders(row.tr);
    row.facets = facetsOf(row.tr);
    row.text = [row.tr.textContent, ...Object.values(row.facets)].join(" ").toLowerCase();
    row.filled = [...row.tr.children].map((cell) => cell.dataset.order !== "");
    row.key = keyOf(row);
    row.button = opener(row.tr, index);
  });
  for (const group of new Set(rows.map((row) => row.headings[0]))) {
    const code = group.querySelector("code");
    if (code) code.after(copyButton(code));
  }
  addOrder();

  /* Numbers by value, text by letters; blanks are last either way. */
  const compare = (way, by) => (a, b) => (a === "" || b === "" ? (a === "") - (b === "") : way * by(a, b));
  const byNumber = (a, b) => Number(a) - Number(b);
  const byText = (a, b) => a.localeCompare(b, "en", { numeric: true });
  DataTable.type("value", { order: { asc: compare(1, byNumber), desc: compare(-1, byNumber) } });
  DataTable.type("words", { order: { asc: compare(1, byText), desc: compare(-1, byText) } });
  DataTable.ext.errMode = "throw";

  const NUMERIC = new Set(["rank", "number", "interval"]);
  const api = new DataTable(table, {
    paging: false,
    info: false,
    autoWidth: false,
    order: [],
    orderClasses: false,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [
      ...heads.map((head, index) => ({
        targets: index,
        type: NUMERIC.has(head.kind) ? "value" : "words",
        orderSequence: head.first === "desc" ? ["desc", "asc", ""] : ["asc", "desc", ""],
      })),
      { targets: heads.length, type: "value", visible: false },
    ],
    language: { zeroRecords: "No row is like that. Take a filter away, or reset them." },
  });
  const columnOf = (key) => heads.findIndex((head) => head.key === key);

  /* Columns: not those that the reader hid, nor what the headings of groups say, nor what is blank in all rows shown. */
  function showColumns(shown) {
    const away = hidden();
    heads.forEach((head, index) => {
      const said = grouped.checked && groupKeys.includes(head.key);
      const blank = "optional" in head && shown.length > 0 && !shown.some((row) => rows[row].filled[index]);
      const visible = !away.has(head.key) && !said && !blank;
      if (api.column(index).visible() !== visible) api.column(index).visible(visible, false);
    });
  }

  /* A heading before the first row of each group and section, where rows are in groups. */
  function showHeadings(shown) {
    for (const old of table.tBodies[0].querySelectorAll(":scope > .group, :scope > .section")) old.remove();
    if (!grouped.checked) return;
    const span = heads.filter((_, index) => api.column(index).visible()).length;
    let [group, section] = [null, null];
    for (const index of shown) {
      const { tr, headings } = rows[index];
      if (headings[0] !== group) [group, section] = [put(headings[0], tr, span), null];
      if (headings[1] && headings[1] !== section) section = put(headings[1], tr, span);
    }
  }

  /* DataTables tells the direction of the column of groups, which comes first, on that of the reader's. */
  function tellOrder() {
    const [index, way] = api.order().find((one) => one[1]) || [-1, ""];
    heads.forEach((_, other) => {
      const head = api.column(other).header();
      if (other === index) head.setAttribute("aria-sort", `${way}ending`);
      else head.removeAttribute("aria-sort");
    });
  }

  function put(heading, before, span) {
    heading.cells[0].colSpan = span;
    before.before(heading);
    return heading;
  }

  function tell(shown) {
    const mixed = !grouped.checked && new Set(shown.map((row) => rows[row].headings[0])).size > 1;
    const ranks = mixed ? " Ranks and values of different groups do not compare." : "";
    status.textContent = `${shown.length} of ${rows.length} rows.${ranks}`;
  }

  function toggle(index, open = rows[index].button.getAttribute("aria-expanded") !== "true") {
    const child = api.row(index).child;
    if (open && !child()) {
      const detail = build(data.rows[index], data.shared);
      detail.id = `detail-${index}`;
      child(detail, "detail-row");
      rows[index].button.setAttribute("aria-controls", detail.id);
    }
    if (open) child.show();
    else child.hide();
    rows[index].button.setAttribute("aria-expanded", String(open));
    rows[index].tr.classList.toggle("opened", open);
  }

  const opened = () => rows.filter((row) => row.button.getAttribute("aria-expanded") === "true").map((row) => row.key);

  function sorting() {
    return api.order().filter(([, way]) => way).map(([index, way]) => `${heads[index].key}:${way}`);
  }

  const remember = () => write(sorting(), opened());

  api.search.fixed("chosen", (_text, _row, index) => matches(rows[index], now, found));
  let [now, found] = [chosen(), words()];

  function refresh() {
    [now, found] = [chosen(), words()];
    api.order.fixed(grouped.checked ? { pre: [[heads.length, "asc"]] } : {});
    api.draw();
    count(rows);
  }

  api.on("draw", () => {
    const shown = api.rows({ order: "applied", search: "applied" }).indexes().toArray();
    showColumns(shown);
    showHeadings(shown);
    tellOrder();
    tell(shown);
  });
  api.on("order", () => remember());

  /* The view that an address describes. */
  function restore(state) {
    apply(state);
    const order = state.getAll("sort").map((text) => text.split(":"));
    const known = order.filter(([key, way]) => columnOf(key) >= 0 && ["asc", "desc"].includes(way));
    api.order(known.map(([key, way]) => [columnOf(key), way]));
    const open = new Set(state.getAll("open"));
    rows.forEach((row, index) => {
      if (open.has(row.key) !== (row.button.getAttribute("aria-expanded") === "true")) toggle(index, open.has(row.key));
    });
    refresh();
  }

  const changed = () => {
    refresh();
    remember();
  };
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    restore(new URLSearchParams());
    remember();
  });
  addEventListener("hashchange", () => {
    const state = read();
    if (state) restore(state);
  });

  const first = read();
  restore(first || new URLSearchParams());
  const target = first && rows.find((row) => first.getAll("open").includes(row.key));
  if (target) target.tr.scrollIntoView({ block: "center" });
  window.amendbench.api = api;
})();
