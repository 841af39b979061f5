const board = document.getElementById("board"), body = board.tBodies[0];
const value = cell => { const n = parseFloat(cell.textContent.replace(/,/g, "")); return isNaN(n) ? null : n * (cell.textContent.endsWith("k") ? 1000 : 1) };
board.querySelectorAll("thead th").forEach((head, i) => {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.onclick = () => {
    const words = [...body.rows].every(row => value(row.cells[i]) === null) || i === 0;
    const down = head.ariaSort ? head.ariaSort === "ascending" : !words, way = down ? -1 : 1;
    board.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.ariaSort = down ? "descending" : "ascending";
    body.append(...[...body.rows].sort((a, b) => {
      const [x, y] = [a.cells[i], b.cells[i]];
      if (words) return way * x.textContent.localeCompare(y.textContent);
      const [m, n] = [value(x), value(y)];
      return m === null ? (n === null ? 0 : 1) : n === null ? -1 : way * (m - n);
    }));
  };
});
