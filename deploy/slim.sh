# Removes from a folder of installed packages what nothing here loads: docs/decisions/container-image.md has the
# sizes. The image is tried as a whole afterwards: `deploy/try_image.py`.
set -eu
cd "$1"
# Arrow: headers, sources and tests for those who build on it; Flight, a network protocol; clients of object stores,
# which are read by obstore and Polars.
rm -rf pyarrow/include pyarrow/src pyarrow/tests pyarrow/libarrow_flight.so* pyarrow/_flight.* \
  pyarrow/libarrow_s3.so* pyarrow/_s3fs.* pyarrow/_gcsfs.* pyarrow/_azurefs.*
find . -type d -name tests -prune -exec rm -rf {} +
find . -name '*.a' -delete
# Of the UI: what maps its code for debuggers, and the film that greets new users, which dagster.yaml turns off.
find dagster_webserver \( -name '*.js.map' -o -name '*.css.map' -o -name '*.mp4' \) -delete
# Symbols for debuggers, where the wheel has them and its library is whole. Libraries that auditwheel put into
# *.libs were rewritten by it, and strip can damage those.
find . -name '*.so*' -size +1M -not -path '*.libs/*' -exec strip --strip-unneeded {} +
