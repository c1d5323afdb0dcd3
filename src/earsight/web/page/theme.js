// Runs before the page is drawn, so that a chosen theme never flashes in the other colours.
const theme = localStorage.getItem("earsight-theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
