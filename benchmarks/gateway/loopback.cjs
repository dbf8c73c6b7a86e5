// For node's --require: what listens on a port listens on the loopback address only; Portkey has no option for that.
const net = require("node:net");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const then = rest.find((each) => typeof each === "function");
  return listen.call(this, { port, host: "127.0.0.1" }, then);
};
