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
  const machines = data.observers.filter((one) => !one.reference);
  let shown = trials.map((_, row) => row);
  let position = 0;

  const fill = (id, options) => {
    for (const [value, text] of options) $(id).append(element("option", { value }, text));
    $(id).addEventListener("change", refilter);
  };
  const unitOf = (trial) => trial.network + " / " + trial.layer + " / " + trial.unit;
  trials.forEach((trial) => { trial.whole = unitOf(trial); });
  const values = (name) => {
    const known = [...new Set(trials.map((trial) => trial[name]))];
    return [["", known.length > 1 ? "all" : known[0]]].concat(
      known.length > 1 ? known.sort().map((value) => [value, value]) : []);
  };
  const panelRight = (trial) => trial.panel && trial.panel[0] / trial.panel[1];

  function matches(row) {
    const trial = trials[row];
    for (const name of ["network", "mode", "difficulty", "whole"]) {
      const wanted = $("f-" + (name === "whole" ? "unit" : name)).value;
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
    if (outcome === "split") return new Set(machines.map((one) => one.marks[row])).size > 1;
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

  // A link to a trial carries the observer and the trial's name; filters stay where they are.
  function toLink() {
    if (!shown.length) return;
    const parts = new URLSearchParams({ trial: trials[shown[position]].id, observer: data.observers[$("f-observer").value].name });
    $("t-link").setAttribute("href", "#" + parts);
  }

  function fromLink() {
    const parts = new URLSearchParams(location.hash.slice(1));
    if (!parts.has("trial")) return false;
    const row = trials.findIndex((trial) => trial.id === parts.get("trial"));
    const observer = data.observers.findIndex((one) => one.name === parts.get("observer"));
    if (row < 0) { $("t-missing").hidden = false; return false; }
    $("t-missing").hidden = true;
    if (observer >= 0) $("f-observer").value = observer;
    if (!matches(row)) for (const name of ["network", "mode", "difficulty", "unit", "outcome"]) $("f-" + name).selectedIndex = 0;
    shown = trials.map((_, place) => place).filter(matches);
    position = shown.indexOf(row);
    draw();
    return true;
  }

  // How alike the observer finds each query and each reference: a table under the trial.
  function why(trial, observer, row, order) {
    const box = $("t-why");
    box.replaceChildren();
    if (!observer.each) {
      box.append(element("p", { class: "small" }, observer.name + " left no similarities: it does not compare images one by one, or its run is older than this page's."));
      return;
    }
    const count = trial.positive.length, each = observer.each[row], pooled = observer.pooled[row];
    const known = each.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const shade = (value) => value === null || high === low ? 0 : (value - low) / (high - low);
    const said = (value) => value === null ? "–" : String(value);
    const scroll = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Similarities" });
    const table = element("table", { class: "why" });
    table.append(element("caption", {}, "Similarity of each query to each reference, in " + observer.name + "’s own unit: larger (darker) is more alike. Evidence = pooled similarity to strong references less that to weak ones; the query with more evidence is chosen."));
    for (const [title, side, offset] of [["weak references", trial.negative, count], ["strong references", trial.positive, 0]]) {
      const body = element("tbody");
      const head = element("tr");
      head.append(element("th", { scope: "row" }, title));
      side.forEach((image, k) => { const cell = element("td"); cell.append(picture(image, title + " " + (k + 1))); head.append(cell); });
      head.append(element("td", { class: "number" }, "pooled"));
      body.append(head);
      order.forEach((which, k) => {
        const line = element("tr");
        const name = element("th", { scope: "row" });
        name.append(picture(trial.queries[which], ""), (k === 0 ? "First" : "Second") + " query");
        line.append(name);
        side.forEach((_, column) => {
          const value = each[which * 2 * count + offset + column];
          const cell = element("td", { class: "number", style: "--share:" + shade(value).toFixed(3) }, said(value));
          line.append(cell);
        });
        line.append(element("td", { class: "number total" }, said(pooled[which * 2 + (offset ? 1 : 0)])));
        body.append(line);
      });
      table.append(body);
    }
    scroll.append(table);
    box.append(scroll);
    const sums = order.map((which, k) => {
      const one = pooled[which * 2], other = pooled[which * 2 + 1];
      return (k === 0 ? "First" : "Second") + " query: " + (one === null || other === null ? "undefined" : (one - other).toPrecision(3));
    });
    box.append(element("p", { class: "small" }, "Evidence. " + sums.join("; ") + "."));
    const near = observer.near && observer.near[row];
    if (near && near.some((images) => images.length)) {
      const list = element("div", { class: "near" });
      order.forEach((which, k) => {
        const line = element("div");
        line.append(element("span", { class: "small" }, (k === 0 ? "First" : "Second") + " query and its nearest images of this run: "), picture(trial.queries[which], "query"));
        near[which].forEach((image) => line.append(picture(image, "a near image")));
        list.append(line);
      });
      box.append(list);
    }
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
      caption.append(bar, count + " of " + trial.panel[1] + " " + data.who + " chose it");
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
    for (const id of ["t-negative", "t-positive", "t-queries", "t-verdict", "t-title", "t-why"]) $(id).replaceChildren();
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
    why(trial, observer, row, order);
    toLink();
  }

  fill("f-observer", data.observers.map((observer, row) => [row, observer.name]));
  for (const name of ["network", "mode", "difficulty"]) fill("f-" + name, values(name));
  fill("f-unit", values("whole"));
  fill("f-outcome", [["", "all trials"], ["right", "observer is right"], ["wrong", "observer is wrong"], ["open", "tie or no answer"]].concat(machines.length > 1 ? [["split", "observers disagree"]] : []).concat(hasPanel ? [["against", "observer against the panel's majority"]] : []));
  $("b-back").addEventListener("click", () => move(position - 1));
  $("b-on").addEventListener("click", () => move(position + 1));
  $("b-slide").addEventListener("input", (event) => move(Number(event.target.value)));
  $("stage").addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: shown.length - 1, PageUp: position - 10, PageDown: position + 10 };
    if (event.key in steps) { event.preventDefault(); move(steps[event.key]); }
  });
  $("browser").hidden = false;
  if (!fromLink()) draw();
  window.addEventListener("hashchange", () => { if (fromLink()) $("stage").scrollIntoView({ block: "nearest" }); });
  if (location.hash.includes("trial=")) $("trials").scrollIntoView();
})();
