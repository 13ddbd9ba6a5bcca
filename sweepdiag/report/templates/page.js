// Sorts a table by the column whose head is clicked; a second click turns the order round.
for (const head of document.querySelectorAll("table.sortable th")) {
  head.tabIndex = 0;
  head.addEventListener("keydown", (event) => event.key === "Enter" && head.click());
  head.addEventListener("click", () => {
    const rows = [...head.closest("table").tBodies[0].rows];
    const place = head.cellIndex;
    const value = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const compare = (a, b) =>
      a === b ? 0 : a === "" ? 1 : b === "" ? -1
      : down * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : Number(a) - Number(b));
    rows.sort((a, b) => compare(value(a), value(b))).forEach((row) => row.parentNode.append(row));
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
  });
}
