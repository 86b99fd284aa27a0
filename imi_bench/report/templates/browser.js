"use strict";
(() => {
  const data = JSON.parse(document.getElementById("payload").textContent);
  const $ = (id) => document.getElementById(id);
  const element = (tag, attributes, text) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const percent = (share) => Math.round(100 * share) + "%";
  const trials = data.trials;
  const hasPanel = trials.some((trial) => trial.panel);
  let shown = trials.map((_, row) => row);
  let position = 0;

  const fill = (id, options) => {
    for (const [value, text] of options) $(id).append(element("option", { value }, text));
    $(id).addEventListener("change", refilter);
  };
  const values = (name) => {
    const known = [...new Set(trials.map((trial) => trial[name]))];
    return [["", known.length > 1 ? "all" : known[0]]].concat(
      known.length > 1 ? known.sort().map((value) => [value, value]) : []);
  };
  const panelRight = (trial) => trial.panel && trial.panel[0] / trial.panel[1];

  function matches(row) {
    const trial = trials[row];
    for (const name of ["network", "mode", "difficulty"]) {
      const wanted = $("f-" + name).value;
      if (wanted && trial[name] !== wanted) return false;
    }
    const mark = data.observers[$("f-observer").value].marks[row];
    const outcome = $("f-outcome").value;
    if (outcome === "right") return mark === "1";
    if (outcome === "wrong") return mark === "0";
    if (outcome === "open") return mark === "t" || mark === "-";
    if (outcome === "against") {
      const share = panelRight(trial);
      return trial.panel !== null && ((mark === "1" && share < 0.5) || (mark === "0" && share > 0.5));
    }
    return true;
  }

  function refilter() {
    const before = shown[position];
    shown = trials.map((_, row) => row).filter(matches);
    position = Math.max(0, shown.findIndex((row) => row >= before));
    draw();
  }

  function move(to) {
    position = Math.min(Math.max(to, 0), Math.max(shown.length - 1, 0));
    draw();
  }

  function picture(image, alt) {
    return element("img", { src: data.images[image], alt, width: 96, height: 96 });
  }

  function query(trial, observer, row, which, place) {
    const strong = which === 0;
    const mark = observer.marks[row];
    const chosen = (mark === "1" && strong) || (mark === "0" && !strong);
    const box = element("figure", { class: "query" + (strong ? " strong" : "") + (chosen ? " chosen" : "") });
    box.append(picture(trial.queries[which], place + " query"));
    const caption = element("figcaption");
    const tag = element("span", { class: "tag" });
    if (chosen) tag.append(observer.name + (strong ? " chose this ✓" : " chose this ✗"));
    caption.append(tag, strong ? "strong response (correct)" : "weak response");
    if (trial.panel) {
      const share = strong ? panelRight(trial) : 1 - panelRight(trial);
      const bar = element("div", { class: "bar" });
      bar.append(element("span", { style: "width:" + 100 * share + "%" }));
      const count = strong ? trial.panel[0] : trial.panel[1] - trial.panel[0];
      caption.append(bar, "panel: " + count + " of " + trial.panel[1] + " chose it");
    }
    box.append(caption);
    return box;
  }

  function verdict(trial, observer, row) {
    const line = $("t-verdict");
    const mark = observer.marks[row];
    const words = { 1: ["right", "is right"], 0: ["wrong", "is wrong"], t: ["", "cannot decide (a tie, counted one half)"], "-": ["", "gave no answer (counted one half)"] }[mark];
    line.replaceChildren(observer.name + " ", element("span", { class: words[0] }, words[1]));
    const evidence = observer.evidence[row];
    if (evidence !== null) line.append("; evidence for the correct query " + evidence + " (its own scale)");
    if (observer.predicted) line.append("; calibrated prediction: " + percent(observer.predicted[row]) + " of the panel correct");
    if (trial.panel) {
      line.append(element("br"), data.panel + ": " + percent(panelRight(trial)) + " correct, 95% interval " +
        percent(trial.panel[2]) + " to " + percent(trial.panel[3]) + ", n = " + trial.panel[1]);
    }
  }

  function draw() {
    const some = shown.length > 0;
    $("t-empty").hidden = some;
    $("b-back").disabled = !some || position === 0;
    $("b-on").disabled = !some || position === shown.length - 1;
    $("b-slide").max = Math.max(shown.length - 1, 0);
    $("b-slide").value = position;
    $("t-count").textContent = some ? (position + 1) + " of " + shown.length + (shown.length < trials.length ? " that fit (" + trials.length + " in all)" : "") : "";
    $("b-slide").setAttribute("aria-valuetext", $("t-count").textContent);
    for (const id of ["t-negative", "t-positive", "t-queries", "t-verdict", "t-title"]) $(id).replaceChildren();
    if (!some) return;
    const row = shown[position];
    const trial = trials[row];
    const observer = data.observers[$("f-observer").value];
    $("t-title").append(trial.network + " ", element("span", {}, trial.layer + ", unit " + trial.unit + " · " + trial.mode + " · " + trial.difficulty + (trial.note ? " · " + trial.note : "")));
    trial.negative.forEach((image, k) => $("t-negative").append(picture(image, "Reference " + (k + 1) + ", weak response")));
    trial.positive.forEach((image, k) => $("t-positive").append(picture(image, "Reference " + (k + 1) + ", strong response")));
    const order = observer.first[row] === "1" ? [0, 1] : [1, 0];
    order.forEach((which, k) => $("t-queries").append(query(trial, observer, row, which, k === 0 ? "First" : "Second")));
    verdict(trial, observer, row);
  }

  fill("f-observer", data.observers.map((observer, row) => [row, observer.name]));
  for (const name of ["network", "mode", "difficulty"]) fill("f-" + name, values(name));
  fill("f-outcome", [["", "all trials"], ["right", "observer is right"], ["wrong", "observer is wrong"], ["open", "tie or no answer"]].concat(hasPanel ? [["against", "observer against the panel's majority"]] : []));
  $("b-back").addEventListener("click", () => move(position - 1));
  $("b-on").addEventListener("click", () => move(position + 1));
  $("b-slide").addEventListener("input", (event) => move(Number(event.target.value)));
  $("stage").addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: shown.length - 1, PageUp: position - 10, PageDown: position + 10 };
    if (event.key in steps) { event.preventDefault(); move(steps[event.key]); }
  });
  $("browser").hidden = false;
  draw();
})();
