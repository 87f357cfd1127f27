# Rendered by `python build-and-deploy.py render` from deploy/image/Dockerfile.j2 and cluster.yaml: do not edit.
# Classic syntax alone, so that any builder takes it.
# Ray and what it needs, unpacked in a stage of its own. `build` lays the wheels beside their hashes; where they are not,
# pip fetches them. Compiled here, since each of Ray's many processes would do that anew in each container.
FROM --platform=linux/arm64 lmsysorg/sglang:spark AS tuning
RUN python3 -c 'import sys; found = "%d.%d" % sys.version_info[:2]; sys.exit(0 if found == "3.12" else "the base has Python " + found + ", and image.python is 3.12")'
COPY deploy/image/wheels/ray-2.59.0/ /sglang-spark-wheels/
RUN cd /sglang-spark-wheels && if ls *.whl >/dev/null 2>&1; then offline=--no-index; fi && \
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install $offline --find-links . --only-binary=:all: \
      --no-deps --no-compile --no-cache-dir --disable-pip-version-check --target /opt/sglang-spark-tune \
      --require-hashes --requirement requirements.txt && \
    python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sglang-spark-tune

FROM --platform=linux/arm64 lmsysorg/sglang:spark

# SGLang looks for kernel tables in the folder of the very Triton version that runs.
COPY configs/triton_3_5_0/ /sgl-workspace/sglang/python/sglang/srt/layers/moe/fused_moe_triton/configs/triton_3_5_0/

# Fails where the base's files are not known, so that no half-patched image comes out.
COPY deploy/__init__.py /opt/sglang-spark/deploy/__init__.py
COPY deploy/inside/ /opt/sglang-spark/deploy/inside/
COPY deploy/kernels/__init__.py deploy/kernels/check.py deploy/kernels/coverage.py deploy/kernels/default.py deploy/kernels/entry.py deploy/kernels/files.py deploy/kernels/finding.py deploy/kernels/gpu.py deploy/kernels/memory.py deploy/kernels/name.py deploy/kernels/parse.py deploy/kernels/place.py deploy/kernels/provenance.py deploy/kernels/rules.py deploy/kernels/shape.py deploy/kernels/table.py \
     /opt/sglang-spark/deploy/kernels/
COPY patches/ /opt/sglang-spark/patches/
RUN cd /opt/sglang-spark && python3 -m deploy.inside.patch apply /sgl-workspace/sglang/python --manifest patches

# The image proves itself: a check that fails ends the build.
ENV SGLANG_SPARK_BUILT_FOR="{\"allow\": [], \"nccl\": null, \"oldest_nccl\": \"2.29.3\", \"sglang\": \"0.5.4.post2\", \"tree\": \"/sgl-workspace/sglang/python\", \"triton\": \"3.5.0\"}"
RUN cd /opt/sglang-spark && python3 -B -m deploy.inside.selftest

# What `tune` runs. No package of the base is replaced: PYTHONPATH leads to this folder, for the processes of `tune` alone.
COPY --from=tuning /opt/sglang-spark-tune/ /opt/sglang-spark-tune/
COPY deploy/errors.py deploy/group.py deploy/store.py deploy/wheel.py deploy/worker.py \
     /opt/sglang-spark/deploy/
COPY deploy/kernels/ /opt/sglang-spark/deploy/kernels/
COPY deploy/tune/ /opt/sglang-spark/deploy/tune/
RUN cd /opt/sglang-spark && PYTHONPATH=/opt/sglang-spark-tune python3 -B -c 'import ray, deploy.tune.node, deploy.tune.crew, deploy.tune.gpu.worker, deploy.kernels.exact.worker'

# `build` sets these; they change nothing above, so they cost no rebuild.
ARG SOURCE=unknown
ARG REVISION=unknown
ARG VERSION=unknown
ARG RECIPE=unknown
LABEL org.opencontainers.image.title="sglang-spark" \
      org.opencontainers.image.description="SGLang 0.5.4.post2 with GLM-4.7 tool calls and GB10 kernel tables" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
      org.opencontainers.image.base.name="lmsysorg/sglang:spark" \
      io.sglang-spark.sglang="0.5.4.post2" \
      io.sglang-spark.triton="3.5.0" \
      io.sglang-spark.ray="2.59.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      io.sglang-spark.recipe="${RECIPE}"
