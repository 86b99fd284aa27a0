"use strict";
(() => {
  const button = document.getElementById("theme");
  const dark = () => (document.documentElement.dataset.theme ||
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  label();
  // A table wider than its frame says so; a scroll bar alone is not seen on a phone.
  const cue = (frame) => {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    let line = frame.previousElementSibling;
    if (!line || !line.classList.contains("cue")) {
      if (!wide) return;
      line = document.createElement("p");
      line.className = "cue";
      line.setAttribute("aria-hidden", "true");
      line.textContent = "more: scroll sideways \u2192";
      frame.before(line);
    }
    line.hidden = !wide;
  };
  const watcher = new ResizeObserver((frames) => frames.forEach((one) => cue(one.target)));
  document.querySelectorAll(".scroll").forEach((frame) => watcher.observe(frame));
})();
