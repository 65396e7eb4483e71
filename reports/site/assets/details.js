/* What opens below a row: blocks of text made into elements. Text from records is only ever set as text. */
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function vector(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  /* The clipboard is refused where the page has no focus, or no right to it: then the text is selected and copied. */
  async function copyText(text, source) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      getSelection().selectAllChildren(source);
      return document.execCommand("copy");
    }
  }

  function copyButton(code) {
    const button = element("button", "Copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => {
      const done = await copyText(code.textContent, code);
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = "Copy"), 1600);
    });
    return button;
  }

  function command(text) {
    const line = element("p", undefined, "command");
    const code = element("code", text);
    line.append(code, copyButton(code));
    return line;
  }

  function pairs(rows) {
    const list = element("dl", undefined, "pairs");
    for (const [name, value] of rows) {
      const row = element("div");
      row.append(element("dt", name), valueOf(name, value));
      list.append(row);
    }
    return list;
  }

  function valueOf(name, value) {
    const shown = element("dd");
    const paper = name === "paper" && /^(?:arXiv:)?(\d{4}\.\d{4,5})$/.exec(value);
    if (paper) {
      const link = element("a", `arXiv:${paper[1]}`);
      link.href = `https://arxiv.org/abs/${paper[1]}`;
      link.rel = "noreferrer";
      shown.append(link);
    } else {
      shown.textContent = value;
    }
    return shown;
  }

  function scrolling(table, label) {
    const box = element("div", undefined, "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
    box.append(table);
    return box;
  }

  function row(cells, name, numbersFrom) {
    const made = element("tr");
    cells.forEach((text, index) => {
      const cell = element(name === "th" || index === 0 ? "th" : "td", text, index >= numbersFrom ? "num" : undefined);
      if (cell.tagName === "TH") cell.scope = name === "th" ? "col" : "row";
      made.append(cell);
    });
    return made;
  }

  function table(block) {
    const made = element("table", undefined, "plain");
    const [head, body] = [element("thead"), element("tbody")];
    head.append(row(block.head, "th", 1));
    body.append(...block.rows.map((cells) => row(cells, "td", 1)));
    made.append(head, body);
    return scrolling(made, block.h);
  }

  /* A dot a seed, and a line at the mean; nothing where there are no two values to compare. */
  function dots(texts) {
    const values = texts.filter((text) => text !== "-").map(Number);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const picture = vector("svg", { class: "dots", viewBox: "0 0 96 16", width: 96, height: 16, "aria-hidden": "true" });
    if (values.length < 2) return picture;
    const at = (value) => (high > low ? 5 + (86 * (value - low)) / (high - low) : 48).toFixed(1);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    picture.append(vector("path", { d: "M2 8H94", class: "axis" }), vector("path", { d: `M${at(mean)} 2V14`, class: "mean" }));
    for (const value of values) picture.append(vector("circle", { cx: at(value), cy: 8, r: 2.6 }));
    return picture;
  }

  function metrics(block, shared) {
    const made = element("table", undefined, "plain metrics");
    const head = element("thead");
    const body = element("tbody");
    head.append(row(["metric", "mean", "95 % interval", "n", "best", "spread", ...block.seeds.map((s) => `seed ${s}`)], "th", 1));
    for (const [number, mean, interval, n, text] of block.rows) {
      const { label, name, best } = shared[number];
      const values = text.split(" ");
      const line = row([label, mean, interval, String(n), best, "", ...values], "td", 1);
      line.firstChild.title = name;
      line.children[5].append(dots(values));
      body.append(line);
    }
    made.append(head, body);
    return scrolling(made, block.h);
  }

  function groups(block, shared) {
    const { names, n } = shared[block.of];
    const rows = block.v.split(" ").map((value, index) => [names[index], value, String(n[index])]);
    rows.sort((a, b) => Number(a[1]) - Number(b[1]));
    return table({ h: block.h, head: ["label / attribute", "%", "n"], rows });
  }

  function records(block) {
    const list = element("ul", undefined, "records");
    for (const [name, hash] of block.rows) {
      const item = element("li");
      const file = block.base + name;
      const base = document.body.dataset.results;
      const link = element(base ? "a" : "span", file);
      if (base) link.href = `${base}/${file.split("/").map(encodeURIComponent).join("/")}`;
      item.append(link, " ", element("code", hash));
      list.append(item);
    }
    return list;
  }

  function lines(block) {
    const list = element("ul", undefined, "lines");
    list.append(...block.v.map((text) => element("li", text)));
    return list;
  }

  const KINDS = {
    alert: lines,
    text: lines,
    command: (block) => command(block.v),
    pairs: (block) => pairs(block.rows),
    table,
    metrics,
    groups,
    records,
  };

  function section(block, shared) {
    const classes = `block of-${block.t}${block.wide ? " broad" : ""}`;
    const made = element(block.closed ? "details" : "section", undefined, classes);
    made.append(element(block.closed ? "summary" : "h3", block.h), KINDS[block.t](block, shared));
    if (block.note) made.append(element("p", block.note, "remark"));
    return made;
  }

  /* All blocks of a row: what is broad as wide as the table, the rest in columns. A number names a shared block. */
  function build(numbersOrBlocks, shared) {
    const whole = element("div", undefined, "detail");
    let columns = null;
    for (const one of numbersOrBlocks) {
      const block = typeof one === "number" ? shared[one] : one;
      const broad = block.wide || block.t === "alert" || block.t === "command";
      if (broad) columns = null;
      else if (!columns) whole.append((columns = element("div", undefined, "columns")));
      (columns || whole).append(section(block, shared));
    }
    return whole;
  }

  window.amendbench = { build, copyButton, element };
})();
