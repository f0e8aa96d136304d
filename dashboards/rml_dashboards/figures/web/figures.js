"use strict";
// Draws a figure anew as one that answers the pointer, once it comes into sight. The picture that
// stands in the page is what is printed, and what is left where this cannot run.
const COLOURS = { "#1b1f24": "--ink", "#57606a": "--dim", "#d0d7de": "--line" };
const PANEL_REM = 19;
const SHOWN = { responsive: true, displayModeBar: false };
const isTouched = matchMedia("(pointer: coarse)").matches;
const plots = new Map();
let library;

const unpacked = async () => {
  const packed = atob(document.getElementById("plotly").textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  return window.Plotly;
};

// Figures are written in the colours of a light page.
const read = (source) => {
  const style = getComputedStyle(document.documentElement);
  const here = (colour) => style.getPropertyValue(COLOURS[colour]).trim();
  const plot = JSON.parse(source.textContent.replace(/#(?:1b1f24|57606a|d0d7de)/g, here));
  if (isTouched) plot.layout.dragmode = false;
  return plot;
};

const draw = async (source) => {
  library ??= unpacked();
  const Plotly = await library;
  const area = document.createElement("div");
  area.className = "drawing";
  area.style.minWidth = `${PANEL_REM * Number(source.dataset.across)}rem`;
  const room = document.createElement("div");
  room.className = "scroll answers";
  room.setAttribute("role", "region");
  room.setAttribute("aria-label", source.dataset.title);
  room.tabIndex = 0;
  room.append(area);
  source.before(room);
  const { data, layout } = read(source);
  await Plotly.newPlot(area, data, layout, SHOWN);
  plots.set(source, area);
  source.closest("figure").classList.add("drawn");
};

if ("DecompressionStream" in window) {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target.querySelector("script.plot"));
    }
  }, { rootMargin: "300px" });
  for (const figure of document.querySelectorAll("figure.figure")) seen.observe(figure);
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [source, area] of plots) {
      const { data, layout } = read(source);
      window.Plotly.react(area, data, layout, SHOWN);
    }
  });
}
