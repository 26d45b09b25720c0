// What the tests do inside a page: publish a drawn picture and a note, watch, and read figures.
// Peers have names, so that one page may hold several.

window.rig = (() => {
  const peers = new Map();
  const sources = new Map();

  /** A canvas whose every frame differs, and an oscillator. `noise` makes it costly to encode. */
  function source({ width, height, fps, noise }) {
    const key = JSON.stringify([width, height, fps, noise]);
    if (!sources.has(key)) sources.set(key, makeSource({ width, height, fps, noise }));
    return sources.get(key);
  }

  function makeSource({ width, height, fps, noise }) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { alpha: false });
    const grain = noise ? makeGrain() : null;
    let frame = 0;
    const draw = () => {
      frame += 1;
      context.fillStyle = `hsl(${frame % 360} 50% 30%)`;
      context.fillRect(0, 0, width, height);
      if (grain) drawGrain(context, grain, frame, width, height);
      context.fillStyle = "white";
      context.fillRect((frame * 7) % width, height / 2, 40, 40);
      context.font = "40px monospace";
      context.fillText(`frame ${frame}`, 20, 50);
    };
    draw();
    setInterval(draw, 1000 / fps);
    const media = canvas.captureStream(fps);
    const audio = new AudioContext({ sampleRate: 48000 });
    const note = new OscillatorNode(audio, { frequency: 330 });
    const out = new MediaStreamAudioDestinationNode(audio);
    note.connect(new GainNode(audio, { gain: 0.2 })).connect(out);
    note.start();
    audio.resume();
    for (const track of out.stream.getAudioTracks()) media.addTrack(track);
    media.getVideoTracks()[0].contentHint = "motion";
    return media;
  }

  function makeGrain() {
    const canvas = new OffscreenCanvas(256, 256);
    const context = canvas.getContext("2d");
    const image = context.createImageData(256, 256);
    for (let at = 0; at < image.data.length; at += 4) {
      const grey = Math.random() * 255;
      image.data.set([grey, grey, grey, 255], at);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /** In a corner only: a whole picture of grain would be three frames a second. */
  function drawGrain(context, grain, frame, width, height) {
    const from = [(frame * 53) % 128, (frame * 91) % 128];
    context.drawImage(grain, ...from, 128, 128, width - 256, height - 128, 256, 128);
  }

  function prefer(transceiver, codec) {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    const named = (name) => codecs.filter((one) => one.mimeType === `video/${name}`);
    transceiver.setCodecPreferences([...named(codec), ...named("rtx")]);
  }

  function addMedia(pc, media, { codec, kinds }) {
    for (const kind of kinds) {
      const [track] = kind === "video" ? media.getVideoTracks() : media.getAudioTracks();
      const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
      if (kind === "video" && codec) prefer(transceiver, codec);
    }
  }

  async function post(name, pc, url, alter = (sdp) => sdp) {
    await pc.setLocalDescription();
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: pc.localDescription.sdp,
    });
    const sdp = await response.text();
    if (response.status !== 201) throw new Error(`${response.status}: ${sdp}`);
    await pc.setRemoteDescription({ type: "answer", sdp: alter(sdp) });
    peers.set(name, { pc, location: new URL(response.headers.get("Location"), url).href });
  }

  /** A receiver starts low and climbs; a test of trains has no time for that. */
  function lift(sdp, kbps) {
    const wish = `x-google-start-bitrate=${kbps};x-google-min-bitrate=${kbps}`;
    const type = sdp.match(/^m=video \d+ \S+ (\d+)/m)[1];
    const fmtp = new RegExp(`^a=fmtp:${type} [^\\r\\n]*`, "m");
    return fmtp.test(sdp)
      ? sdp.replace(fmtp, (line) => `${line};${wish}`)
      : sdp.replace(new RegExp(`^a=rtpmap:${type} [^\\r\\n]*`, "m"), (line) => `${line}\r\na=fmtp:${type} ${wish}`);
  }

  async function publish(name, url, options) {
    const { width = 640, height = 360, fps = 30, noise = false, codec = null } = options;
    const { kinds = ["video", "audio"], kbps = null } = options;
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    addMedia(pc, source({ width, height, fps, noise }), { codec, kinds });
    await post(name, pc, url, (sdp) => (kbps === null ? sdp : lift(sdp, kbps)));
    for (const sender of pc.getSenders()) {
      if (sender.track.kind !== "video") continue;
      const parameters = sender.getParameters();
      parameters.degradationPreference = "maintain-resolution";
      if (kbps !== null) parameters.encodings[0].maxBitrate = 1000 * kbps;
      await sender.setParameters(parameters);
    }
  }

  function show(pc, mids) {
    const video = document.createElement("video");
    Object.assign(video, { autoplay: true, playsInline: true, srcObject: new MediaStream() });
    document.body.append(video);
    pc.addEventListener("track", ({ track, transceiver, streams }) => {
      mids[transceiver.mid] = { kind: track.kind, streams: streams.map((stream) => stream.id) };
      video.srcObject.addTrack(track);
      video.play().catch(() => {
        video.muted = true; // sound needs a gesture where no flag allows it
        video.play().catch(() => {});
      });
    });
  }

  /** Watches with its transceivers in the order of `kinds`, in every codec or in one; tells which
   * track came at which mid. */
  async function watch(name, url, { kinds = ["video", "audio"], codec = null } = {}) {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    for (const kind of kinds) {
      const transceiver = pc.addTransceiver(kind, { direction: "recvonly" });
      if (kind === "video" && codec) prefer(transceiver, codec);
    }
    const mids = {};
    show(pc, mids);
    await post(name, pc, url);
    return mids;
  }

  // The control: the same picture from page to page, signalled through the test.

  const gathered = (pc) =>
    new Promise((resolve) => {
      const look = () => pc.iceGatheringState === "complete" && resolve(pc.localDescription.sdp);
      pc.addEventListener("icegatheringstatechange", look);
      look();
    });

  async function directOffer(name, { width = 640, height = 360, fps = 30, codec }) {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    peers.set(name, { pc });
    const media = source({ width, height, fps, noise: false });
    addMedia(pc, media, { codec, kinds: ["video", "audio"] });
    await pc.setLocalDescription();
    return gathered(pc);
  }

  async function directAnswer(name, sdp) {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    peers.set(name, { pc });
    show(pc, {});
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription();
    return gathered(pc);
  }

  async function directAccept(name, sdp) {
    await peers.get(name).pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Stops or resumes what a publisher sends, without touching its session. */
  async function setActive(name, active) {
    for (const sender of peers.get(name).pc.getSenders()) {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.active = active;
      await sender.setParameters(parameters);
    }
  }

  /** Restarts ICE by PATCH (RFC 9725 §4.3.3): a fragment of the new offer goes, one comes back. */
  async function restart(name) {
    const { pc, location } = peers.get(name);
    const before = pc.remoteDescription.sdp;
    pc.restartIce();
    await pc.setLocalDescription();
    const offered = (line) => pc.localDescription.sdp.match(new RegExp(`^${line}[^\\r\\n]*`, "m"))[0];
    const lines = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:"].map(offered);
    const response = await fetch(location, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
      body: `${lines.join("\r\n")}\r\n`,
    });
    const fragment = await response.text();
    if (response.status !== 200) throw new Error(`${response.status}: ${fragment}`);
    await pc.setRemoteDescription({ type: "answer", sdp: renewed(before, fragment) });
    return response.headers.get("ETag");
  }

  /** The answer as it was, with the fragment's credentials and candidates. */
  function renewed(sdp, fragment) {
    const of = (name) => fragment.match(new RegExp(`^a=${name}:[^\\r\\n]*`, "gm"));
    const candidates = [...of("candidate"), "a=end-of-candidates"].join("\r\n");
    return sdp
      .replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, "")
      .replace(/^a=ice-ufrag:[^\r\n]*/gm, of("ice-ufrag")[0])
      .replace(/^a=ice-pwd:[^\r\n]*/gm, of("ice-pwd")[0])
      .replace(/^a=mid:[^\r\n]*/m, (mid) => `${mid}\r\n${candidates}`);
  }

  /** What both sides have agreed on: another answer would be another text. */
  async function agreed(name) {
    const { pc } = peers.get(name);
    return [pc.signalingState, pc.localDescription.sdp, pc.remoteDescription.sdp];
  }

  async function leave(name) {
    const { pc, location } = peers.get(name);
    peers.delete(name);
    const response = await fetch(location, { method: "DELETE" });
    pc.close();
    return response.status;
  }

  async function stats(name) {
    const { pc } = peers.get(name);
    const report = await pc.getStats();
    const all = [...report.values()];
    const transport = all.find((one) => one.type === "transport") ?? {};
    const pair = report.get(transport.selectedCandidatePairId) ?? {};
    const of = (kind) => {
      const row = all.find(
        (one) => (one.type === "inbound-rtp" || one.type === "outbound-rtp") && one.kind === kind,
      );
      return row ? { ...row, codec: report.get(row.codecId)?.mimeType ?? null } : {};
    };
    return {
      state: pc.connectionState,
      cipher: transport.srtpCipher ?? null,
      remote: report.get(pair.remoteCandidateId)?.address ?? null,
      ufrag: transport.iceLocalUsernameFragment ?? null,
      video: of("video"),
      audio: of("audio"),
    };
  }

  return { publish, watch, agreed, directOffer, directAnswer, directAccept, setActive, restart, leave, stats };
})();
