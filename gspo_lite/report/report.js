"use strict";
(() => {
  const root = document.documentElement;
  const keep = (theme) => { try { localStorage.setItem("gspo-lite-theme", theme); } catch { /* a page from a file may have no storage */ } };
  const kept = () => { try { return localStorage.getItem("gspo-lite-theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = document.getElementById("theme");
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  if (kept() === "dark" || kept() === "light") root.dataset.theme = kept();
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; keep(root.dataset.theme); name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  const STEP = 8;
  for (const form of document.querySelectorAll("form.filter")) {
    const items = [...document.getElementById(form.dataset.list).children];
    const [kind, words, more, count] = ["select", "input", "button", "output"].map((tag) => form.querySelector(tag));
    let limit = STEP;
    const show = () => {
      const wanted = words.value.toLowerCase();
      const matching = items.filter((item) => (!kind.value || item.dataset.kind === kind.value) && item.textContent.toLowerCase().includes(wanted));
      const seen = new Set(matching.slice(0, limit));
      for (const item of items) item.hidden = !seen.has(item);
      count.textContent = `${seen.size} of ${matching.length} shown`;
      more.hidden = seen.size === matching.length;
    };
    const begin = () => { limit = STEP; show(); };
    kind.addEventListener("change", begin);
    words.addEventListener("input", begin);
    more.addEventListener("click", () => { limit += 4 * STEP; show(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    show();
  }

  for (const picture of document.querySelectorAll("svg[data-series]")) {
    const series = JSON.parse(picture.dataset.series);
    const [left, right, low, high] = ["left", "right", "low", "high"].map((key) => Number(picture.dataset[key]));
    const cursor = picture.querySelector(".cursor");
    const read = picture.closest("figure").querySelector(".read");
    const written = (value) => picture.dataset.percent === "1" ? `${(value * 100).toFixed(1)}%` : String(value);
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const step = low + ((event.clientX - box.left) / box.width * picture.viewBox.baseVal.width - left) / (right - left) * (high - low);
      const near = Object.entries(series).map(([label, points]) => [label, points.reduce((a, b) => Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a)]);
      const at = left + (near[0][1][0] - low) / (high - low) * (right - left);
      cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); cursor.setAttribute("visibility", "visible");
      read.textContent = `step ${near[0][1][0]}: ` + near.map(([label, point]) => near.length > 1 ? `${label} ${written(point[1])}` : written(point[1])).join(", ");
    });
    picture.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); read.textContent = ""; });
  }
})();
