// Draws the linked charts. The interpreter (ast) needs no code made from strings at run time.
vegaEmbed(
  document.getElementById("explorer"),
  JSON.parse(document.getElementById("explorer-spec").textContent),
  { ast: true, renderer: "canvas", mode: "vega-lite",
    actions: { export: true, source: false, compiled: false, editor: false } },
).then((result) => { window.explorerView = result.view; });
