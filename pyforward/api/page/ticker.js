// A worker that answers one number, a period in milliseconds, with a message each period.
let timer = null;
onmessage = ({ data }) => {
  clearInterval(timer);
  timer = setInterval(() => postMessage(0), data);
};
