// Sets the colours before anything is drawn, so that the page does not flash. A plain script, not a module: those wait.
const chosen = localStorage.getItem("hapax-theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
