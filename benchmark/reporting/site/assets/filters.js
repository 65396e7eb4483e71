/* What is chosen above the table: search, filters and columns; and the address that keeps it. */
(() => {
  "use strict";

  const form = document.getElementById("filters");
  const search = document.getElementById("q");
  const grouped = document.getElementById("grouped");
  const facets = [...form.querySelectorAll("[data-facet]")];
  const columns = document.getElementById("columns");

  const boxes = (facet) => [...facet.querySelectorAll("input")];
  const checked = (facet) => boxes(facet).filter((box) => box.checked).map((box) => box.value);

  /* What a row must be: for each filter that is used, one of the values chosen. */
  function chosen() {
    const found = new Map();
    for (const facet of facets) {
      const values = checked(facet);
      if (values.length) found.set(facet.dataset.facet, new Set(values));
    }
    return found;
  }

  const words = () => search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hidden = () => new Set(boxes(columns).filter((box) => !box.checked).map((box) => box.value));

  /* How many rows each value would show, given everything else that is chosen. */
  function count(rows) {
    const now = chosen();
    const found = words();
    for (const facet of facets) {
      const key = facet.dataset.facet;
      const others = new Map([...now].filter(([name]) => name !== key));
      const left = rows.filter((row) => matches(row, others, found));
      for (const box of boxes(facet)) {
        const n = left.filter((row) => row.facets[key] === box.value).length;
        box.closest("label").querySelector(".count").textContent = n;
        box.closest("label").classList.toggle("none", n === 0);
      }
      mark(facet, checked(facet));
    }
    const away = hidden().size;
    columns.querySelector(".chosen").textContent = away ? ` −${away}` : "";
    columns.classList.toggle("used", away > 0);
  }

  function mark(facet, values) {
    const all = boxes(facet);
    const only = "single" in facet.dataset ? all[0].value : "";
    const text = values.length > 1 ? String(values.length) : values[0] || only;
    facet.querySelector(".chosen").textContent = text ? `: ${text}` : "";
    facet.classList.toggle("used", values.length > 0);
  }

  function matches(row, now, found) {
    for (const [key, values] of now) if (!values.has(row.facets[key])) return false;
    return found.every((word) => row.text.includes(word));
  }

  /* The address: what differs from the first view. A hash without "=" is a place on the page. */
  function read() {
    const hash = location.hash.slice(1);
    return hash.includes("=") ? new URLSearchParams(hash) : null;
  }

  function write(sort, open) {
    const state = new URLSearchParams();
    if (search.value) state.set("q", search.value);
    for (const [key, values] of chosen()) for (const value of values) state.append(key, value);
    for (const key of hidden()) state.append("hide", key);
    if (!grouped.checked) state.set("group", "no");
    for (const one of sort) state.append("sort", one);
    for (const key of open) state.append("open", key);
    const text = state.toString();
    history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
  }

  function apply(state) {
    search.value = state.get("q") || "";
    grouped.checked = state.get("group") !== "no";
    for (const facet of facets) {
      const values = new Set(state.getAll(facet.dataset.facet));
      for (const box of boxes(facet)) box.checked = values.has(box.value);
    }
    const away = new Set(state.getAll("hide"));
    for (const box of boxes(columns)) box.checked = !away.has(box.value);
  }

  /* Panels: one open at a time, inside the window, closed by Escape and by a click elsewhere. */
  const panels = [...facets, columns];
  for (const panel of panels) {
    panel.addEventListener("toggle", () => {
      if (!panel.open) return;
      for (const other of panels) if (other !== panel) other.open = false;
      const box = panel.querySelector(".panel");
      box.style.removeProperty("left");
      const over = box.getBoundingClientRect().right - document.documentElement.clientWidth + 12;
      if (over > 0) box.style.left = `${-over}px`;
    });
  }
  document.addEventListener("keydown", (event) => {
    const open = panels.find((panel) => panel.open);
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    for (const panel of panels) if (panel.open && !panel.contains(event.target)) panel.open = false;
  });

  Object.assign(window.amendbench, { form, grouped, chosen, words, hidden, count, matches, read, write, apply });
})();
