# shellcheck shell=bash
# The images: one real CT slice, made into studies, sent to the archive by a real DICOM client.

# CT_small.dcm of the pydicom project, an axial slice of a GE HiSpeed CT/i whose original is NEMA's public sample CT1;
# pydicom (MIT licence) ships it as a test file with identifying texts replaced. Any release will do that has this very file.
CT_FILE=pydicom/data/test_files/CT_small.dcm
CT_SHA256=3dd31e5cc835b3f2cdd46c9da1982f59251e78518fefa8163d914631c66437d6
PYDICOM=2.4.4
SLICES=4
STUDIES='routine-1 routine-2 routine-3 routine-4 incomplete stat'

ct_path() { printf '%s/images/CT_small.dcm' "$CACHE"; }

is_the_ct() { [ -f "$1" ] && [ "$(openssl dgst -sha256 -r "$1" | cut -d' ' -f1)" = $CT_SHA256 ]; }

fetch_ct() {
  local scratch
  is_the_ct "$(ct_path)" && return
  mkdir -p "$(dirname "$(ct_path)")"
  scratch=$(mktemp -d)
  ct_from_debian "$scratch" || ct_from_pip "$scratch" || true
  if ! is_the_ct "$scratch/ct"; then
    rm -rf "$scratch"
    fail "no CT image: neither Debian's package python3-pydicom nor pip's pydicom $PYDICOM could be had. Put $CT_FILE of any pydicom (SHA-256 $CT_SHA256) at $(ct_path)"
  fi
  mv "$scratch/ct" "$(ct_path)"
  rm -rf "$scratch"
}

ct_from_debian() (
  cd "$1" || return
  command -v apt-get && apt-get download python3-pydicom || { apt-get update && apt-get download python3-pydicom; } || return 1
  dpkg-deb --fsys-tarfile python3-pydicom_*.deb | tar -xO "./usr/lib/python3/dist-packages/$CT_FILE" >ct && is_the_ct ct
) >/dev/null 2>&1

ct_from_pip() (
  cd "$1" || return
  python3 -m pip download --quiet --no-deps --only-binary=:all: "pydicom==$PYDICOM" &&
    python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
      "pydicom-$PYDICOM-py3-none-any.whl" $CT_FILE >ct && is_the_ct ct
) >/dev/null 2>&1

# uid NAME : a DICOM UID under 2.25 (PS3.5 B.2), always the same one for a name.
uid() {
  local hash
  hash=$(printf 'ct-quality/%s' "$1" | openssl dgst -sha256 -r)
  printf '2.25.%d' "0x${hash:0:15}"
}

# study_id NAME : the archive's id of a study, which Orthanc makes from patient id and study UID.
study_id() {
  printf '1CT1|%s' "$(uid "$1")" | openssl dgst -sha1 -r | sed -E 's/(.{8})(.{8})(.{8})(.{8})(.{8}).*/\1-\2-\3-\4-\5/'
}

# make_studies DIR : each study gets the slice several times over, as images of its own that name their number and how many
# there should be. Orthanc calls a series complete when it has all images of ImagesInAcquisition (0020,1002), for which it
# also wants NumberOfTemporalPositions (0020,0105).
make_studies() {
  local study slice file
  rm -rf "$1"
  mkdir -p "$1"
  for study in $STUDIES; do
    for slice in $(seq $SLICES); do
      file=$1/$study-$slice.dcm
      cp "$(ct_path)" "$file"
      dcmodify -q -nb -imt -m "(0020,000d)=$(uid "$study")" -m "(0020,000e)=$(uid "$study/series")" \
        -m "(0008,0018)=$(uid "$study/$slice")" -m "(0020,0013)=$slice" \
        -m "(0020,0032)=-158.135803\\-179.035797\\$((5 * slice - 80)).700000" \
        -i "(0020,1002)=$SLICES" -i '(0020,0105)=1' "$file"
    done
  done
  # The one image that never arrives.
  rm "$1/incomplete-$SLICES.dcm"
}

# send_studies DIR : by DICOM C-STORE, as a scanner would.
send_studies() {
  local study
  storescu -aec "$ARCHIVE_AET" "$ARCHIVE_HOST" "$ARCHIVE_DICOM_PORT" "$1"/*.dcm ||
    fail "the archive at $ARCHIVE_HOST:$ARCHIVE_DICOM_PORT did not take the images (AE title $ARCHIVE_AET)"
  for study in $STUDIES; do
    archive GET "/studies/$(study_id "$study")" >/dev/null || fail "the archive has no study $study after it was sent"
  done
}

remove_studies() {
  local study
  for study in $STUDIES; do archive DELETE "/studies/$(study_id "$study")" >/dev/null 2>&1 || true; done
}

# what the archive says about a study, in the place where the workflow writes
study_note() { archive GET "/studies/$(study_id "$1")/metadata/1024" 2>/dev/null; }
