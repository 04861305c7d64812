"""Writes DICOM files for other services: `studies FOLDER` two studies of one image a series, `worklist FOLDER` two scheduled steps."""

import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.999"


def base(study):
    data = Dataset()
    data.PatientName = "DOE^JOHN"
    data.PatientID = "4711"
    data.AccessionNumber = f"A{study}"
    data.StudyInstanceUID = f"{ROOT}.{study}"
    return data


def save(data, path, sop_class, uid):
    data.SOPClassUID = sop_class
    data.SOPInstanceUID = uid
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = uid
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)


def studies(folder):
    for study, modalities in ((1, ["CT", "CT", "SR"]), (2, ["MR"])):
        for series, modality in enumerate(modalities, 1):
            data = base(study)
            data.StudyDate = f"2026110{study}"
            data.Modality = modality
            data.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
            data.SeriesNumber = series
            data.InstanceNumber = 1
            uid = f"{ROOT}.{study}.{series}.1"
            save(data, folder / f"{study}-{series}.dcm", CTImageStorage, uid)


def worklist(folder):
    for number, (modality, priority) in enumerate((("CT", "STAT"), ("MR", "ROUTINE")), 1):
        data = base(number)
        data.RequestedProcedureID = f"P{number}"
        data.RequestedProcedurePriority = priority
        step = Dataset()
        step.Modality = modality
        step.ScheduledStationAETitle = f"{modality}1"
        step.ScheduledProcedureStepStartDate = "20261129"
        step.ScheduledProcedureStepStartTime = "080000"
        step.ScheduledPerformingPhysicianName = "ROE^JANE"
        step.ScheduledProcedureStepID = f"S{number}"
        data.ScheduledProcedureStepSequence = Sequence([step])
        save(data, folder / f"{number}.wl", "1.2.840.10008.5.1.4.31", f"{ROOT}.9.{number}")
    (folder / "lockfile").touch()


target = Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)
{"studies": studies, "worklist": worklist}[sys.argv[1]](target)
