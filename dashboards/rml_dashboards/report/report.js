// The slider uncovers the truth over the image, then the prediction over the truth. Where no script
// runs, it stays hidden and the three stand side by side.
for (const slider of document.querySelectorAll("input.slider")) {
  const card = slider.closest(".card");
  const layers = card.querySelector(".layers");
  const move = () => {
    const value = Number(slider.value);
    layers.style.setProperty("--truth", `${Math.min(value, 100)}%`);
    layers.style.setProperty("--prediction", `${Math.max(value - 100, 0)}%`);
  };
  slider.hidden = false;
  card.classList.add("moves");
  slider.addEventListener("input", move);
  move();
}
// A link to the runs of a number leads to a table that may be closed, or to a line that is hidden.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (const show of unhide) show(target);
  const closed = target.closest("details:not([open])");
  if (closed) closed.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
