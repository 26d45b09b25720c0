// A source that every browser has: a moving picture on a canvas and two soft notes.
//
// The bar in the lower left carries the frame's number: white, sixteen bits with the highest first,
// black, so that a test can tell from the pixels which frame it sees.

const WIDTH = 640;
const HEIGHT = 360;
const FRAMES_PER_S = 30;
const BIT_PIXELS = 16;

/** A MediaStream with picture and sound; stopping its tracks ends everything behind it. */
export function makeSynthetic() {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d", { alpha: false });
  let frame = 0;
  draw(context, frame);
  // A worker's timer goes on at full speed while the page is in the background.
  const ticker = new Worker("/static/ticker.js");
  ticker.onmessage = () => draw(context, ++frame);
  ticker.postMessage(1000 / FRAMES_PER_S);

  const media = canvas.captureStream(FRAMES_PER_S);
  const sound = makeSound();
  media.addTrack(sound.track);
  const [video] = media.getVideoTracks();
  video.contentHint = "motion";
  onStop(video, () => ticker.terminate());
  onStop(sound.track, sound.close);
  return media;
}

function draw(context, frame) {
  const seconds = frame / FRAMES_PER_S;
  const hue = (200 + 40 * Math.sin(seconds / 4)) % 360;
  const gradient = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
  gradient.addColorStop(0, `hsl(${hue} 45% 22%)`);
  gradient.addColorStop(1, `hsl(${hue + 60} 40% 12%)`);
  context.fillStyle = gradient;
  context.fillRect(0, 0, WIDTH, HEIGHT);

  for (let wave = 0; wave < 3; wave += 1) {
    context.beginPath();
    for (let x = 0; x <= WIDTH; x += 8) {
      const y = 210 + 26 * wave + 22 * Math.sin(x / 70 + seconds * (1 + wave / 2) + wave);
      if (x === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    }
    context.strokeStyle = `hsl(${hue + 30 * wave} 70% 65% / 60%)`;
    context.lineWidth = 3;
    context.stroke();
  }
  context.beginPath();
  context.arc(320 + 250 * Math.sin(seconds), 150 + 60 * Math.cos(2 * seconds), 20, 0, 7);
  context.fillStyle = "#ffb95e";
  context.fill();

  context.fillStyle = "#f6f3ec";
  context.font = "600 44px ui-monospace, monospace";
  context.fillText(new Date().toISOString().slice(11, 23), 36, 76);
  context.font = "22px ui-monospace, monospace";
  context.fillText(`frame ${frame}`, 38, 110);

  const bits = `1${(frame & 0xffff).toString(2).padStart(16, "0")}0`;
  [...bits].forEach((bit, place) => {
    context.fillStyle = bit === "1" ? "#fff" : "#000";
    context.fillRect(36 + place * BIT_PIXELS, 320, BIT_PIXELS, BIT_PIXELS);
  });
}

function makeSound() {
  const context = new AudioContext({ sampleRate: 48000 });
  context.resume();
  const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
  [220, 330].forEach((frequency, channel) => {
    const note = new OscillatorNode(context, { frequency });
    note.connect(new GainNode(context, { gain: 0.08 })).connect(merger, 0, channel);
    note.start();
  });
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
  merger.connect(destination);
  return { track: destination.stream.getAudioTracks()[0], close: () => context.close() };
}

/** "ended" is not told to whoever calls stop(), so stop() itself is watched. */
function onStop(track, callback) {
  const stop = track.stop.bind(track);
  track.stop = () => {
    stop();
    callback();
  };
}
