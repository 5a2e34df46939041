"""The child process of the llama rig: serves one GGUF on a free loopback port until its stdin closes.

The system picks the port and the first line of output says which. A closed stdin means that the tests are done, or
dead: either way this must not outlive them.

Usage: llama_serve.py MODEL_FILE MODEL_NAME API_KEY
"""

import sys

from xllamacpp import CommonParams, Server, llama_pooling_type


def main(file: str, name: str, key: str) -> None:
    params = CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = 2048
    params.n_parallel = 4
    params.cpuparams.n_threads = 1
    params.n_threads_http = 4
    params.warmup = False
    params.verbosity = 1
    params.ui = False
    params.endpoint_metrics = True
    # Mean pooling makes /v1/embeddings answer in OpenAI's shape, beside chat on the same model.
    params.embedding = True
    params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # A second identical call must give an identical answer, also in `usage.prompt_tokens_details`.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    server = Server(params)
    print("listening:", server.listening_address, flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
