// A Modbus server that shares nothing with the driver: jsmodbus, on Node's own sockets and TLS.
//
//   node server.mjs tcp | rtu+tcp | tls CERTIFICATE KEY CA
//
// Listens on 127.0.0.1 and prints its port. Coil 3, discrete input 5, input register 1 = 7; holding registers 0 to 99
// hold their own address. Runs until its standard input ends.
import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";
import Modbus from "jsmodbus";

const [scheme, certificate, key, ca] = process.argv.slice(2);
const tables = {
  coils: Buffer.alloc(16),
  discrete: Buffer.alloc(16),
  holding: Buffer.alloc(200),
  input: Buffer.alloc(200),
};
tables.coils[0] = 1 << 3;
tables.discrete[0] = 1 << 5;
tables.input.writeUInt16BE(7, 2);
for (let address = 0; address < 100; address++) tables.holding.writeUInt16BE(address, 2 * address);

const quiet = (socket) => socket.on("error", () => socket.destroy());
let server;
if (scheme === "rtu+tcp") {
  server = net.createServer((socket) => new Modbus.server.RTU(quiet(socket), tables));
} else if (scheme === "tls") {
  server = tls.createServer({
    cert: fs.readFileSync(certificate),
    key: fs.readFileSync(key),
    ca: fs.readFileSync(ca),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
  });
  server.on("tlsClientError", () => {});
  // jsmodbus listens to "connection", which of a TLS server is the socket below the encryption.
  const plain = new net.Server();
  new Modbus.server.TCP(plain, tables);
  server.on("secureConnection", (socket) => plain.emit("connection", quiet(socket)));
} else {
  server = net.createServer();
  server.on("connection", quiet);
  new Modbus.server.TCP(server, tables);
}
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
