// OpenAI's realtime API as a page calls it: the key travels as a subprotocol, because a page can set no header.
export default ({base_url, api_key, model}) =>
  new Promise((resolve) => {
    const seen = {events: [], protocol: null};
    const url = base_url.replace("http", "ws") + "/realtime?model=" + encodeURIComponent(model);
    const socket = new WebSocket(url, ["realtime", "openai-insecure-api-key." + api_key]);
    socket.onopen = () => {
      seen.protocol = socket.protocol;
      socket.send(JSON.stringify({type: "response.create"}));
    };
    socket.onmessage = ({data}) => {
      const event = JSON.parse(data);
      seen.events.push(event.type);
      if (event.type === "response.done") socket.close(1000);
    };
    socket.onclose = ({code}) => resolve({...seen, code});
  });
