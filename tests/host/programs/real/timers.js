// A loop of timers: each tick comes once, in order, and not too early.
let ticks = 0, wrong = 0, last = process.hrtime.bigint();
const pid = process.pid;
const timer = setInterval(() => {
  const now = process.hrtime.bigint();
  if (now < last) ++wrong;
  last = now;
  if (++ticks === 3) console.log('ready');
}, 10);
const chain = (n) => {
  const begin = Date.now();
  setTimeout(() => {
    if (Date.now() - begin < 4) ++wrong;
    chain(n + 1);
  }, 5);
};
chain(0);
process.on('SIGTERM', () => {
  const before = ticks;
  setTimeout(() => {
    clearInterval(timer);
    process.exit(wrong === 0 && ticks > before && process.pid === pid ? 0 : 1);
  }, 200);
});
