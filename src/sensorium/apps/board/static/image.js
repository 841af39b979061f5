// A point, a box or a stroke on the picture, by mouse, finger or arrow keys. The form's fields hold it: what is drawn is
// always drawn from them, so numbers typed into them do the same.
const desk = document.getElementById("desk");
if (desk) {
  const stage = document.getElementById("stage"), field = desk.elements;
  const { width: W, height: H } = stage.viewBox.baseVal, step = Math.max(1, Math.round(Math.max(W, H) / 50));
  const [line, frame, dot] = document.getElementById("mark").children;
  const within = (value, least, most) => Math.min(Math.max(Math.round(value), least), most);
  const values = (...names) => names.map(name => field[name].value === "" ? NaN : Number(field[name].value));
  const put = (shape, attributes) => { for (const name in attributes) shape.setAttribute(name, attributes[name]) };
  const points = () => field.stroke.value.trim().split(/\s+/).filter(Boolean).map(pair => pair.split(",").map(Number));
  const rectangle = {
    whole: () => null,
    point: () => {
      const [x, y] = values("x", "y"), side = Number(stage.dataset.side), half = Math.floor(side / 2);
      return [within(x - half, 0, W - side), within(y - half, 0, H - side), side, side];
    },
    box: () => values("left", "top", "width", "height"),
    stroke: () => {
      const x = points().map(p => p[0]), y = points().map(p => p[1]);
      return [Math.min(...x), Math.min(...y), Math.max(...x) - Math.min(...x) + 1, Math.max(...y) - Math.min(...y) + 1];
    },
  };
  const draw = () => {
    const mark = field.mark.value, found = rectangle[mark](), whole = found && found.every(Number.isFinite);
    const [x, y, width, height] = whole ? found : [0, 0, 0, 0];
    put(frame, { x, y, width: Math.max(0, width), height: Math.max(0, height) });
    put(line, { points: mark === "stroke" && whole ? field.stroke.value : "" });
    put(dot, { cx: whole && mark === "point" ? field.x.value : 0, cy: whole && mark === "point" ? field.y.value : 0,
      r: whole && mark === "point" ? dot.dataset.r : 0 });
    document.getElementById("region").value = whole ? `${width} × ${height} pixels at ${x}, ${y}` : "";
  };
  const choose = mark => { desk.querySelector(`[name=mark][value=${mark}]`).checked = true };
  const set = given => { for (const name in given) field[name].value = given[name]; draw() };
  const add = (x, y) => {
    const all = points(), last = all.at(-1);
    if (last && Math.hypot(last[0] - x, last[1] - y) < step / 4) return;
    all.push([x, y]);
    const few = all.length > 400 ? all.filter((_, k) => k % 2 === 0 || k === all.length - 1) : all;
    set({ stroke: few.map(p => p.join(",")).join(" ") });
  };
  const at = event => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(stage.getScreenCTM().inverse());
    return [within(p.x - .5, 0, W - 1), within(p.y - .5, 0, H - 1)];
  };

  let from = null;
  const drawn = {
    point: (x, y) => set({ x, y }),
    box: (x, y) => set({ left: Math.min(x, from[0]), top: Math.min(y, from[1]), width: Math.abs(x - from[0]) + 1, height: Math.abs(y - from[1]) + 1 }),
    stroke: add,
  };
  stage.addEventListener("pointerdown", event => {
    const whole = field.mark.value === "whole";
    if (event.button || !event.isPrimary || (whole && event.pointerType === "touch")) return; // a finger scrolls first
    event.preventDefault();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    if (whole) choose("box");
    from = at(event);
    if (field.mark.value === "stroke") field.stroke.value = "";
    drawn[field.mark.value](...from);
  });
  stage.addEventListener("pointermove", event => { if (from && event.isPrimary) drawn[field.mark.value](...at(event)) });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => { from = null });

  const moved = {
    point: (dx, dy) => {
      const [x, y] = values("x", "y");
      set(Number.isFinite(x + y) ? { x: within(x + dx, 0, W - 1), y: within(y + dy, 0, H - 1) } : { x: W >> 1, y: H >> 1 });
    },
    box: (dx, dy, resize) => {
      const [left, top, width, height] = values("left", "top", "width", "height");
      if (!Number.isFinite(left + top + width + height)) set({ left: W >> 2, top: H >> 2, width: Math.max(1, W >> 1), height: Math.max(1, H >> 1) });
      else if (resize) set({ width: within(width + dx, 1, W - left), height: within(height + dy, 1, H - top) });
      else set({ left: within(left + dx, 0, W - width), top: within(top + dy, 0, H - height) });
    },
    stroke: (dx, dy, longer) => {
      const all = points(), last = all.at(-1);
      if (!last) set({ stroke: `${W >> 1},${H >> 1}` });
      else if (longer) add(within(last[0] + dx, 0, W - 1), within(last[1] + dy, 0, H - 1));
      else {
        const [x, y, width, height] = rectangle.stroke();
        const [right, down] = [within(dx, -x, W - x - width), within(dy, -y, H - y - height)];
        set({ stroke: all.map(p => `${p[0] + right},${p[1] + down}`).join(" ") });
      }
    },
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", event => {
    const way = arrows[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (field.mark.value === "whole") choose("box");
    moved[field.mark.value](way[0] * step, way[1] * step, event.shiftKey);
  });
  desk.addEventListener("input", draw);
  document.addEventListener("htmx:after:swap", () => document.getElementById("said").scrollIntoView({ block: "nearest" }));
  put(stage, { tabindex: 0, role: "application" });
  desk.classList.add("drawable");
  draw();
}
