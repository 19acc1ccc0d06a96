// node/hello.js - a service: a name, and a function for each method.
const nebula = require("nebula");

function greet({ name = "world" }) {
  return `Hello ${name}!`;
}

nebula.run(new nebula.Service("hello", { greet }));
