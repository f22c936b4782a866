// Light or dark, as chosen before, in time for the first paint. Not a module: those wait for the page.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("kvstore.theme");
  } catch {
    // The browser keeps nothing: then it is as the system has it.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
