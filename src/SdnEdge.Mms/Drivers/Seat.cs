using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>A manager that leads: its journal and its loop.</summary>
/// <param name="Journal">The journal. It takes records of this manager only.</param>
/// <param name="Service">The loop.</param>
/// <param name="Term">For how long, where there are several managers; null: there is one.</param>
internal sealed record Seat(IJournal Journal, ManagerService Service, EtcdTerm? Term)
{
    /// <summary>True while nobody else can lead.</summary>
    public bool IsValid => Term is not { IsValid: false };
}

/// <summary>
/// One of several managers. While another one leads it reads the journal on, so that it can begin at once; when nobody leads it tries; when
/// it leads it moves servers until its lease is lost, and then is one of the others again.
/// </summary>
internal sealed class EtcdSeat : IAsyncDisposable
{
    private readonly MmsConfig _config;
    private readonly EtcdConfig _place;
    private readonly EtcdClient _etcd;
    private readonly EtcdElection _election;
    private readonly IParties _parties;
    private readonly CancellationTokenSource _stop = new();
    private EtcdJournal? _reader;
    private volatile ManagerState _followed = ManagerState.Empty;
    private long _position;
    private volatile Seat? _seat;
    private volatile ElectionView _view = new(null, "etcd has not been asked yet");

    /// <summary>Makes it; <see cref="Start"/> has it try to lead.</summary>
    /// <param name="config">The manager's configuration, with <see cref="MmsConfig.Etcd"/>.</param>
    /// <param name="parties">PEs and hosts.</param>
    /// <exception cref="IOException">The manager's certificate, its key or the authority cannot be read.</exception>
    public EtcdSeat(MmsConfig config, IParties parties)
    {
        (_config, _parties) = (config, parties);
        _place = config.Etcd ?? throw new ArgumentException("the journal is not in etcd", nameof(config));
        ClientIdentity? identity = _place.IsHttps && config.Identity is { } files
            ? ClientIdentity.Load(files.Certificate, files.Key, files.Authority) : null;
        _etcd = new EtcdClient(_place, identity);
        _election = new EtcdElection(_etcd, _place.Prefix, _place.LeaseSeconds);
    }

    /// <summary>This manager began to lead.</summary>
    public event Action<Seat>? Won;

    /// <summary>This manager leads no more, with the reason.</summary>
    public event Action<string>? Gone;

    /// <summary>While it leads; null: it does not.</summary>
    public Seat? Current => _seat is { IsValid: true } seat ? seat : null;

    /// <summary>What it saw when it last looked who leads.</summary>
    public ElectionView View => _view;

    /// <summary>The state by the records that it has read while others led.</summary>
    public ManagerState Followed => _followed;

    /// <summary>Position of the last of those.</summary>
    public long Position => Interlocked.Read(ref _position);

    /// <summary>Ends when it can go on no more, with the reason: the journal is damaged, or of a later version.</summary>
    public Task Ended { get; private set; } = Task.CompletedTask;

    /// <summary>Begins.</summary>
    public void Start() => Ended = Task.Run(RunAsync);

    /// <summary>Gives the lead back, where it has it.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_reader is not null) await _reader.DisposeAsync();
        _etcd.Dispose();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
            {
                LeaderInfo me = Me();
                EtcdTerm term = await _election.CampaignAsync(me, SeeAsync, _stop.Token);
                await using (term) await LeadAsync(me, term);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
    }

    private LeaderInfo Me() => new(
        _config.Name,
        _config.Api.Tcp is { } tcp && tcp.Address.Bits != 0
            ? $"https://{(tcp.Address.IsV4 ? $"{tcp.Address}" : $"[{tcp.Address}]")}:{tcp.Port}/"
            : _config.Api.Unix is { } socket ? "unix:" + socket : null,
        Guid.NewGuid().ToString("N"), DateTimeOffset.UtcNow.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));

    // While another one leads.
    private async Task SeeAsync(ElectionView view)
    {
        if (view.Fault is null)
        {
            try
            {
                await FollowAsync();
            }
            catch (JournalUnavailableException e) when (e.Fault == JournalFault.Io || MayBeAnother(e))
            {
                view = view with { Fault = e.Message };
                if (MayBeAnother(e)) await ForgetAsync();
            }
        }

        _view = view;
    }

    private async Task FollowAsync()
    {
        _reader ??= await EtcdJournal.OpenReadOnlyAsync(_etcd, _place.Prefix, _stop.Token);
        if (_reader is null) return;
        (ManagerState state, long position) = await JournalCodec.FoldAsync(_reader, (_followed, Position), 1000, _ => false, _stop.Token);
        _followed = state;
        Interlocked.Exchange(ref _position, position);
    }

    private async Task LeadAsync(LeaderInfo me, EtcdTerm term)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, term.Lost);
        string why;
        try
        {
            await using EtcdJournal journal = await EtcdJournal.OpenAsync(_etcd, _place.Prefix, me.Life, term.Revision, over.Token);
            await using ManagerService service = await ManagerService.StartAsync(
                journal, new LeasedParties(_parties, term), TimeProvider.System, journal.GoesOnFrom(_reader) ? (_followed, Position) : null,
                over.Token);
            var seat = new Seat(journal, service, term);
            _seat = seat;
            try
            {
                Won?.Invoke(seat);
                await service.Ended.WaitAsync(over.Token);
                why = "it was stopped";
            }
            finally
            {
                _seat = null;
            }
        }
        catch (LeadershipLostException e)
        {
            why = e.Message;
        }
        catch (JournalUnavailableException e) when (e.Fault is JournalFault.Io or JournalFault.Full || MayBeAnother(e))
        {
            why = e.Message;
        }
        catch (OperationCanceledException) when (over.IsCancellationRequested)
        {
            why = _stop.IsCancellationRequested ? "it was stopped" : $"its lease was not kept by etcd (term {term.Revision})";
        }

        _view = new ElectionView(null, null);
        await ForgetAsync();
        Gone?.Invoke(why);
    }

    // What does not follow the records that were read before may be a journal that was put back: it is read once more from its beginning.
    private bool MayBeAnother(JournalUnavailableException e) => e.Fault == JournalFault.Corrupt && Position > 0;

    // What was followed is behind by what this manager wrote itself; it is read on from where it was, by a new reader.
    private async Task ForgetAsync()
    {
        if (_reader is not null) await _reader.DisposeAsync();
        _reader = null;
        _followed = ManagerState.Empty;
        Interlocked.Exchange(ref _position, 0);
    }
}

/// <summary>Parties of a manager that may have lost the lead: it asks nobody anything once another one can lead.</summary>
internal sealed class LeasedParties(IParties parties, EtcdTerm term) : IParties
{
    private IParties Valid => term.IsValid ? parties
        : throw new ApiUnreachableException("this manager does not lead any more, and asks nobody anything") { IsUnconnected = true };

    public Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel) => Valid.SignalAsync(command, cancel);

    public Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel) => Valid.OrderAsync(command, cancel);

    public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
        => Valid.MigrationAsync(pe, path, wait, cancel);

    public Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel) => Valid.WhyNotDirectAsync(pe, path, cancel);

    public Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel) => Valid.TellsAsync(path, cancel);

    public Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
        => Valid.LeftOverAsync(pe, path, cancel);

    public Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel) => Valid.LeaseAsync(command, cancel);

    public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel) => Valid.ServerAsync(host, server, cancel);
}
