// A picture may be dropped on a form, which is then sent unless it says that it stays; without this, its file field does
// the same.
const named = (form, file) => { form.querySelector("[data-named]").textContent = file ? file.name : "A picture: choose one, or drop it here" };
const form = event => event.target instanceof Element ? event.target.closest("[data-drop]") : null;
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(kind, event => {
    const onto = form(event);
    if (!onto) return;
    event.preventDefault();
    onto.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    onto.elements.image.files = event.dataTransfer.files;
    named(onto, event.dataTransfer.files[0]);
    if (!("stays" in onto.dataset)) onto.requestSubmit();
  });
document.addEventListener("change", event => {
  if (event.target.matches("[data-drop] [type=file]")) named(event.target.form, event.target.files[0]);
});
// An answer without the part that was asked for (a key has run out, a picture is too large) must not empty the page.
document.addEventListener("htmx:before:swap", event => {
  const { ctx } = event.detail;
  if (!ctx.select || new DOMParser().parseFromString(ctx.text, "text/html").querySelector(ctx.select)) return;
  event.preventDefault();
  const said = document.getElementById("said");
  try { said.textContent = JSON.parse(ctx.text).error.message } catch { location.assign(ctx.response.raw.url) }
});
