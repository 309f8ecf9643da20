// The theme's arrows in the side bar have no name that a screen reader could read.
document.querySelectorAll("nav summary:not([aria-label])").forEach((arrow) => {
  const page = arrow.closest("li").querySelector("a").textContent.trim();
  arrow.setAttribute("aria-label", `Pages below ${page}`);
});
