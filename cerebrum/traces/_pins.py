"""Public files, pinned, for `catalog`.

A block for each origin: repository and commit, then its terms; below it, for each file, its name
and bytes, its SHA-256 and its path in the repository. Checked against the repositories themselves:
every file has the Git object of that path in that commit (for a name in .gz: its text has).
"""

PINS = """
umassos/decarbonization-potential 3493a63016bd2aaa71cae1f33809576786b331d4
Apache-2.0; carbon series by Electricity Maps, cite them
  carbon/electricitymaps_mean_2020_2022_123zones.csv 7588
    eb20958fff0b91a4124722428f5c4c92290f0dfb9da19c09f72bc92cc203c2ac
    shared_data/mean_stats.csv
  network/gcp_dc_zonecode_mapper.json 1037
    32b68c4ab93a17548fcaf77a0d6db7054c78afff2b642f1e2bfad60bb44b5931
    shared_data/gcp_dc_zonecode_mapper.json
  network/gcp_latency_matrix_ms.csv 4639
    1ebb17d261cb635d3e7fbb549000d82fab73e629c2ba5c7110da2fc67ad277a7
    shared_data/gcp_latency_matrix.csv
dos-group/lets-wait-awhile 5e0d1553f5858337ac33ed30f6cf683cc5365116
no licence file; ENTSO-E
  carbon/lwa_fr_ci_2020.csv.gz 708464
    c097e7f5c64afdfb6e168fc4ba5a920b90f84614fe7eb4e60f2daf65cdde0142
    data/fr_ci.csv
  carbon/lwa_gb_ci_2020.csv.gz 848162
    5c771b6d31c6082343e0d9e3a3fc03d05defb6f4cdcc525a374a26ec337a86ac
    data/gb_ci.csv
  carbon/lwa_ger_ci_2020.csv.gz 1428284
    bb9aa67ed4ce191d8fa0d48346c0c6c0fa8fe82f8e4c94e7cf1c8156c7fb001c
    data/ger_ci.csv
huyang1022/ECSched 666ec8b37a9d19cde049c3edc3e899774253f9f7
no licence file; Google cluster-data-2011, CC-BY 4.0
  ecsched/Input_85.txt 1261
    1b3ddc71e4580213282606803620395d1291fe8c51d1c5fb975dbabf5f645d1a
    Input
huyang1022/ECSched cbba0fd1011d87c65d5d5c116105013e2c9007a6
no licence file; Google cluster-data-2011, CC-BY 4.0
  ecsched/Input_9549_2018-05-31.txt 176669
    a694ee679b3ae0e68f309cea4014fac82f2a08209e6e54f8d5f357fd9cff9435
    Input
vhive-serverless/invitro a1df629445ff7aa996ae1cf411dabc5a8c30376f
MIT; Azure data CC-BY 4.0
  functions/azure2019_example_durations.csv 1259
    a932be9f55451d9b90bdb9918ecfb6f68200dd8c20df474859e8992580add25b
    data/traces/example/durations.csv
  functions/azure2019_example_invocations.csv 18455
    67b03d37d366eeffa83430a6ca2b26695c7e29ab64138a0d00f0df72a18f6ec8
    data/traces/example/invocations.csv
  functions/azure2019_example_memory.csv 1286
    015c0de4dcb3c4269a467ce104f0ad9bea43907f87167ed36c5fcab939cb84b5
    data/traces/example/memory.csv
  functions/azure2021_200.csv 30791
    d51e9c9ca79872313d94a26b8c52e82fc55855903c92c1f006cfd1a37700673b
    data/traces/example/Azure2021/Azure2021_200.csv
aleasimulator/alea a3315f00d9e0c9e984b6094624703230dd8bf7cb
LGPL distribution; Parallel Workloads Archive terms
  jobs/alea_hpc2n_3150jobs.swf.gz 292761
    eaaccb339ef0f313d1b975cf02cc518b7cc012fb0c609ef2af2dbd0291aa74ba
    Alea/data-set/hpc2n.swf
  jobs/alea_metacentrum_wagap-2013.swf.gz 2418846
    bf5c1cc69915f2d5d26c579f69e206513ceff9bd60e6c4b112182da0c6183ed7
    Alea/data-set/wagap-2013.swf
umassos/GAIA 62a5efccb20fa04d6e507e12350eb4468eab9888
MIT
  jobs/gaia_pai-100k.csv.gz 3738595
    b2325599b3b3ac19dcf7377f2452633f9c02cd0e4a8f1e0cf553f63b68558a2d
    src/cluster_traces/pai-100k.csv
  jobs/gaia_pai_1k.csv.gz 17754
    f1fb822a29bff1a12948a482423f761d68ac7c88ae541f646fe4e6e149361069
    src/cluster_traces/pai_1k.csv
DIR-LAB/SchedInspector 8f5f967c8ea2682761e5fc078da6fbf59a061c1d
MIT
  jobs/lublin_256.swf.gz 649089
    a394ab3d81179ebcf645a1cbd593a60b6dff7f11a510e1e6285c45f43310c962
    data/lublin_256.swf
hkust-adsl/kubernetes-scheduler-simulator 8f3d6417353c5083c6d56617f255fadd8dc306bc
Apache-2.0
  openb/openb_node_list_all_node.csv 52287
    5a85c2af79c66a1efff8bbcbda430400aae56d8431370d738480967e1a9c6b15
    data/csv/openb_node_list_all_node.csv
  openb/openb_node_list_gpu_node.csv 42353
    2beca64b4d3dfa342036a34b56a495c6cef9225db836c81f541282cb1df320b5
    data/csv/openb_node_list_gpu_node.csv
  openb/openb_node_list_gpu_node.yaml 624935
    b76abef147312cd39be841490c23526b1324350228617707b13976f69c86cd08
    data/node_yaml/openb_node_list_gpu_node.yaml
  openb/openb_pod_list_cpu050.csv 525811
    747f43247bffc2b0bb081d7f61f0705ca8d390dafc0b647e642c92f3baf3ba1e
    data/csv/openb_pod_list_cpu050.csv
  openb/openb_pod_list_default.csv 575468
    1ee7ed79c27a3b0861cda8ddba86a004c6aba904caafa329a76ae93ca63834a8
    data/csv/openb_pod_list_default.csv
  openb/openb_pod_list_gpushare40.csv 572662
    d83ce79a4eb6987524bedbb0c65e41aed3a36bf6c1b78b86234c3687a07e1d40
    data/csv/openb_pod_list_gpushare40.csv
  openb/openb_pod_list_gpuspec10.csv 579461
    2dc7e4cb9480484f08539720b433a9ec9ab5d76b396f3f7557c53a2ff78a7611
    data/csv/openb_pod_list_gpuspec10.csv
  openb/openb_pod_list_multigpu20.csv 271530
    d9ec6f6c74fb980cc0b81239470c6353fceea077ea9abd610003b604c7cc2b01
    data/csv/openb_pod_list_multigpu20.csv
cloud-carbon-footprint/ccf-coefficients b0032d928c787cf76cecd7d1d611c5b46f366e29
Apache-2.0
  power/ccf_coefficients-aws-embodied.csv 29515
    b57b088cb210c2e9fede885d406a8ae215d35a3767e41ff96f957f3d02740281
    output/coefficients-aws-embodied.csv
  power/ccf_coefficients-aws-use.csv 1407
    85a8a792dd5bb82ff63817f66cf16d88147812273f1933289bc30a261c241ad5
    output/coefficients-aws-use.csv
  power/ccf_coefficients-azure-embodied.csv 40014
    a5c224fadebdf49275df04fd4ec15877b89de747b9e21f2cc30b9f2b0b32b2c1
    output/coefficients-azure-embodied.csv
  power/ccf_coefficients-azure-use.csv 552
    bd82d5ffe1fd6d17d09b7d9f047682a873b6fdb1dd255739bd25b17027526690
    output/coefficients-azure-use.csv
  power/ccf_coefficients-gcp-embodied-mean.csv 3210
    2968c91cd4c92f325302e05fc9d33e90dfb740bc863bbb82cca259355f63744f
    output/coefficients-gcp-embodied-mean.csv
  power/ccf_coefficients-gcp-use.csv 641
    3254996a6e7a0763ab663cef3c13bff593ec7ebca8dd168c83519ac4516c7ff5
    output/coefficients-gcp-use.csv
  power/ccf_grid-emissions-factors-aws.csv 1204
    fbbbc55cb71ec27d3846bfea8fcc12ffb50b79e76f0a6b7e4215511d6704e697
    data/grid-emissions-factors-aws.csv
  power/ccf_grid-emissions-factors-azure.csv 1055
    1df307c039c8eeadefb48314fe03c8761c8de2e04c100fac0b270ce58be96a11
    data/grid-emissions-factors-azure.csv
  power/ccf_grid-emissions-factors-gcp.csv 1001
    99bfa16c3a3a44b7eed10f9a176034405d2be893bfff90dac1606e8ec1f26e88
    data/grid-emissions-factors-gcp.csv
  power/teads_ccf_aws-instances.csv 160141
    ca11dd2b62cf45164b32674a851038669c68ca8cbc7d66c7e72777412cff6a0b
    data/aws-instances.csv
g-uva/KubEnergySched 4041a694aa488674e3f363697ee9e1dd68853526
no licence file; Google powerdata_2019, CC-BY 4.0
  power/google_powertrace_2019.csv 308838
    e60a905571a9931f355f087a36fe8ddb83aa5544ea0cba59cca28fb7ad14bd31
    powertrace/data/powertrace.csv
wfcommons/WfInstances f085867f2f9d0b266835295605a6db2c434fe69b
LGPL-3.0
  workflows/1000genome-chameleon-2ch-100k-001.json 79277
    dfbaa266f7902cf92595a1d87b4947676a1281f85f994dea1ba0d9db34ae5f3d
    pegasus/1000genome/1000genome-chameleon-2ch-100k-001.json
  workflows/1000genome-chameleon-8ch-100k-001.json 310572
    7f30d4676bb5dda364ab6eba429c6af84a29276a072485cdedaaee9b5accd2c1
    pegasus/1000genome/1000genome-chameleon-8ch-100k-001.json
  workflows/blast-chameleon-small-001.json 103750
    5e132ac7f63096dec62173da1c7512554f9ddb08dc420f2005af277a04b8e845
    makeflow/blast/blast-chameleon-small-001.json
  workflows/cycles-chameleon-1l-1c-9p-001.json 316856
    fcd1ad8f0969db329e1899fd6c357a9205b13a64742699467b0ce7048b844cc6
    pegasus/cycles/cycles-chameleon-1l-1c-9p-001.json
  workflows/epigenomics-chameleon-hep-1seq-100k-001.json 74483
    51c22cd98a078adc4303fe19dfcf7b7186f6d3e0c0cadddb10bb901cee01fa5d
    pegasus/epigenomics/epigenomics-chameleon-hep-1seq-100k-001.json
  workflows/epigenomics-chameleon-ilmn-1seq-100k-001.json 256049
    792136df141379e2e2b01c247cd0ffe63978bd3dfce9685727fd8087e741fe41
    pegasus/epigenomics/epigenomics-chameleon-ilmn-1seq-100k-001.json
  workflows/helloworld-forkjoin-10-chameleon.json 19730
    7046b65845190ed9cb009d5b740c51826c61768a88e6f8b997ea373558c871df
    helloworld/helloworld-forkjoin-10-chameleon.json
  workflows/montage-chameleon-2mass-005d-001.json 111414
    5795e0ab9e13bb7d50d046796bcbc8ec0a884eba0512a95222bbd557bc6d0b65
    pegasus/montage/montage-chameleon-2mass-005d-001.json
  workflows/montage-chameleon-2mass-01d-001.json 203448
    0a1073feab3bedfa1727db0e11cb464da65e4fa5349d97c6a5e516c72516c21c
    pegasus/montage/montage-chameleon-2mass-01d-001.json
  workflows/sarek-dirt02-001.json 70123
    0c80654c4ddbd2c4316ee20fd8140fc5282f22e7cebdfd64363e33b689814563
    nextflow/sarek-dirt02-001.json
  workflows/seismology-chameleon-100p-001.json 175096
    99c0426009e1e2a0316c53da45ce9247ffaeee7d2e0fad6b4de96e796b5aaad4
    pegasus/seismology/seismology-chameleon-100p-001.json
  workflows/srasearch-chameleon-10a-001.json 37935
    c2b5d73841750b5af68e5ff65f5f2d04b51a4b6b18086e7a5b1dfb72317fd4b6
    pegasus/srasearch/srasearch-chameleon-10a-001.json
umass-solar/carbon-aware-dag 05b8d20393113998788740544045e75d64968d7e
MIT; Alibaba cluster-trace-v2018
  workflows/pcaps_alibaba2018_batch_task_sample.csv.gz 1088858
    4dab459fc8ba117d58241067c511e8a1aef4d1b6220ff41fed6208a062a066cb
    prototype/alibaba-spark-jobs/sorted_batch_task.csv
"""
