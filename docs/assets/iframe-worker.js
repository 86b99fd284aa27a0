// The site's search is a worker, and browsers start none from files. Where the site is opened from a
// disk, a hidden frame runs the same script instead, so that the search needs no server and no network.
if (location.protocol === "file:") {
  class FrameWorker extends EventTarget {
    constructor(address) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      addEventListener("message", event => {
        if (event.source === inside) {
          this.dispatchEvent(new MessageEvent("message", { data: event.data }));
        }
      });
      inside.document.open();
      inside.document.write(
        "<!doctype html><title>search</title><body><script>" +
          'window.postMessage = data => parent.postMessage(data, "*");' +
          "window.importScripts = async (...addresses) => {" +
          "  for (const address of addresses) await new Promise((done, failed) => {" +
          '    const script = document.createElement("script");' +
          "    Object.assign(script, { src: address, onload: done, onerror: failed });" +
          "    document.body.append(script);" +
          "  });" +
          "};<\/script>"
      );
      const script = inside.document.createElement("script");
      script.src = address;
      inside.document.write(script.outerHTML);
      inside.document.close(); // opening a document takes away what listened to it
      this.ready = new Promise(started => inside.addEventListener("load", started));
    }

    postMessage(data) {
      this.ready.then(() =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
      );
    }

    terminate() {
      this.frame.remove();
    }
  }
  window.IFrameWorker = window.Worker = FrameWorker; // the search script looks for the first name
}
