"use strict";
// Without a script each image opens by its link.
const large = document.getElementById("large");
for (const link of document.querySelectorAll("a.zoom")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const image = large.querySelector("img");
    image.src = link.getAttribute("href");
    image.alt = link.querySelector("img").alt;
    large.showModal();
  });
}
document.getElementById("close").addEventListener("click", () => large.close());
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
