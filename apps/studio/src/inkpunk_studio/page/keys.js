// Ctrl+Enter (Cmd+Enter) draws, Esc stops: the buttons of the tab that is open.
document.addEventListener("keydown", (event) => {
  const press = (kind) => {
    const button = [...document.querySelectorAll(`button.${kind}`)].find((each) => each.offsetParent);
    if (button && !button.disabled) {
      event.preventDefault();
      button.click();
    }
  };
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    press("draws");
  } else if (event.key === "Escape" && !document.querySelector("[role=listbox], [role=dialog]")) {
    press("stops");
  }
}, true);
