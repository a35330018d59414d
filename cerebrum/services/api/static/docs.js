"use strict";
// Swagger UI on this server's own document; a page about one tag opens with the others filtered out.
const place = document.getElementById("operations");
SwaggerUIBundle({
  url: "/openapi.json",
  domNode: place,
  filter: place.dataset.tag || false,
  tryItOutEnabled: place.dataset.tag !== "",
  docExpansion: place.dataset.tag ? "full" : "list",
  deepLinking: true,
  validatorUrl: null,
});
