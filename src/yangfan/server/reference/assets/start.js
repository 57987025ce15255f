// The strict Content-Security-Policy of the page forbids inline scripts, so this one has a file.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // The default asks a validator on the internet.
  validatorUrl: null,
});
