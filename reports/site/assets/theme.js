/* Colours: those of the system until the reader chooses. In the head, so that no page is drawn in the wrong ones. */
(() => {
  "use strict";
  const root = document.documentElement;
  const KEY = "amendbench-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  /* Storage is refused in private windows, and from files in some browsers: then the choice lasts for the page. */
  const stored = (() => {
    try {
      return localStorage;
    } catch {
      return null;
    }
  })();

  const chosen = stored && stored.getItem(KEY);
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  root.classList.add("js");

  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(dark()));
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      if (stored) stored.setItem(KEY, root.dataset.theme);
      tell();
    });
    system.addEventListener("change", tell);
    tell();
    /* On paper nothing can be opened, and nothing comes into sight. */
    addEventListener("beforeprint", () => {
      for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
      for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
    });
  });
})();
