"use strict";
(() => {
  const PAGE = 50;
  const element = document.getElementById("board");
  const axis = JSON.parse(element.dataset.axis);
  const place = (value) => 4 + 192 * (value - axis.low) / (axis.high - axis.low);
  const text = (value) => value.toFixed(3).replace(/^-(0\.000)$/, "$1");
  // Laying out hundreds of rows takes longer than a click should: longer boards come in pages.
  const paged = element.tBodies[0].rows.length > PAGE;
  const table = new DataTable(element, {
    paging: paged, pageLength: PAGE, lengthMenu: [PAGE, 200, { label: "all", value: -1 }],
    autoWidth: false, order: [[0, "asc"]],
    language: { search: "Search", infoFiltered: "of _MAX_", lengthMenu: "_MENU_ rows a page",
      info: paged ? "_START_ to _END_ of _TOTAL_ rows" : "_TOTAL_ rows",
      zeroRecords: "No row matches." },
    layout: { topStart: null, topEnd: null, bottomStart: "info",
      bottomEnd: paged ? ["pageLength", "paging"] : null },
  });
  const search = document.getElementById("search");
  search.addEventListener("input", () => table.search(search.value).draw());

  const mode = document.getElementById("mode");
  const difficulty = document.getElementById("difficulty");
  const training = document.getElementById("training");

  function show(stratum) {
    for (const row of table.rows().nodes().toArray()) {
      const numbers = JSON.parse(row.dataset.strata)[stratum];
      const cell = row.querySelector(".score");
      const plot = row.querySelector("svg.interval");
      plot.classList.toggle("empty", !numbers);
      plot.style.visibility = numbers ? "visible" : "hidden";
      cell.dataset.order = numbers ? numbers[0] : -1e9;
      cell.replaceChildren();
      if (!numbers) { cell.textContent = "–"; continue; }
      const [value, low, high] = numbers;
      const range = document.createElement("span");
      range.className = "muted";
      range.textContent = low === null ? "" : ` [${text(low)}, ${text(high)}]`;
      cell.append(text(value), range);
      plot.querySelector(".dot").setAttribute("cx", place(value));
      const bar = plot.querySelector(".bar");
      bar.setAttribute("x1", place(low === null ? value : low));
      bar.setAttribute("x2", place(high === null ? value : high));
    }
    table.rows().invalidate("dom");
    table.draw();
  }

  for (const [own, other, name] of [[mode, difficulty, "mode"], [difficulty, mode, "difficulty"]]) {
    own.addEventListener("change", () => {
      other.value = "";
      show(own.value ? `${name}=${own.value}` : "all");
    });
  }
  table.search.fixed("training", (_text, _data, index) => {
    const wanted = training.value;
    return !wanted || table.row(index).node().dataset.training === wanted;
  });
  training.addEventListener("change", () => table.draw());
})();
